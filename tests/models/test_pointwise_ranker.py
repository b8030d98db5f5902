from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from tfrec_llm.keras_api import keras, tf
from tfrec_llm.models.pointwise_ranker import FUSIONS, PointwiseRanker
from tfrec_llm.models.ranking_task import RankingTask

DIM = 6


def _features(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(1.0, 1.0, (*shape, DIM)).astype(np.float32)


@pytest.fixture(scope="module", params=FUSIONS)
def ranker(request: Any) -> PointwiseRanker:
    keras.utils.set_random_seed(3)
    made = PointwiseRanker(DIM, request.param, token_dim=4, lstm_units=5)
    made.set_start(_features(30, 4).astype(np.float16), 0.2, seed=1)
    for variable in made.trainable_variables:  # also what starts at zero
        noise = np.random.default_rng(1).normal(0, 0.2, variable.shape)
        variable.assign_add(noise.astype(np.float32))
    return made


def test_probabilities_are_the_sigmoid_of_the_logits(ranker: PointwiseRanker) -> None:
    user, item = _features(3, 2), _features(3, 4, seed=1)
    logits = ranker.logits(ranker.project_tokens(user), ranker.project_tokens(item))
    np.testing.assert_allclose(ranker(user, item), tf.sigmoid(logits), atol=1e-6)


def test_padding_changes_nothing_wherever_it_stands(ranker: PointwiseRanker) -> None:
    user, item, history = _features(2, 2), _features(2, 3, seed=1), _features(2, 2, seed=2)
    plain = ranker(user, item, history)
    padded = ranker(
        np.pad(user, [(0, 0), (1, 2), (0, 0)]),
        np.pad(item, [(0, 0), (0, 3), (0, 0)]),
        np.pad(history, [(0, 0), (2, 0), (0, 0)]),
    )
    np.testing.assert_allclose(plain, padded, atol=1e-5)


def test_a_user_and_an_item_of_whom_nothing_is_known_get_a_finite_score(
    ranker: PointwiseRanker,
) -> None:
    nothing = np.zeros((2, 3, DIM), np.float32)
    assert np.isfinite(ranker(nothing, nothing, nothing)).all()


def test_gradients_reach_every_weight(ranker: PointwiseRanker) -> None:
    weights = [v.value for v in ranker.trainable_variables]
    with tf.GradientTape() as tape:
        user = tf.concat(
            [
                ranker.project_tokens(_features(8, 2)),
                ranker.project_history(_features(8, 3, seed=2)),
            ],
            axis=1,
        )
        logits = ranker.logits(user, ranker.project_tokens(_features(8, 4, seed=1)))
        loss = RankingTask()(tf.constant([1.0, 0.0] * 4), logits)
    for variable, gradient in zip(
        ranker.trainable_variables, tape.gradient(loss, weights), strict=True
    ):
        assert gradient is not None and np.abs(gradient).max() > 0, variable.path


def test_projected_zeros_stay_zeros_and_nothing_else_becomes_zero(ranker: PointwiseRanker) -> None:
    features = np.concatenate([_features(1, 3), np.zeros((1, 3, DIM), np.float32)])
    tokens = ranker.project_tokens(features).numpy()
    assert tokens[0].any(axis=1).all() and not tokens[1].any()


def test_history_tokens_of_projected_items_are_those_of_their_mean_features(
    ranker: PointwiseRanker,
) -> None:
    features = _features(5, 4).astype(np.float16)
    features[1, 2:] = 0
    features[3] = 0
    counts = np.maximum(features.any(axis=2).sum(axis=1), 1)[:, None]
    means = features.astype(np.float32).sum(axis=1) / counts
    served = ranker.history_tokens(ranker.project_corpus(features))
    np.testing.assert_allclose(served, ranker.project_history(means), atol=0.02)


def test_the_start_whitens_the_tokens_and_predicts_the_base_rate() -> None:
    features = (_features(300, 4) * np.array([9, 1, 1, 3, 1, 1]) + 20).astype(np.float16)
    features[:50, 2:] = 0
    ranker = PointwiseRanker(DIM, token_dim=3, lstm_units=4)
    ranker.set_start(features, 0.25, seed=1)
    tokens = ranker.project_corpus(features).astype(np.float64)
    real = tokens[features.any(axis=2)]
    np.testing.assert_allclose(np.cov(real.T), np.eye(3), atol=0.05)
    np.testing.assert_allclose(real.mean(axis=0), 0, atol=0.05)
    assert float(tf.sigmoid(ranker.output_unit.bias.value[0])) == pytest.approx(0.25)


def test_without_a_projection_tokens_are_the_features() -> None:
    ranker = PointwiseRanker(DIM, token_dim=None, lstm_units=4)
    features = _features(2, 3)
    np.testing.assert_array_equal(ranker.project_tokens(features), features)
    assert PointwiseRanker(**ranker.get_config()).width == DIM


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"fusion": "sum"}, "`fusion` must be one of concat, correlation"),
        ({"token_dim": 1}, "`token_dim` must be None or at least 2"),
        ({"lstm_units": 0}, "`lstm_units` must be at least 1"),
    ],
)
def test_a_wrong_argument_is_named(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        PointwiseRanker(DIM, **changes)
