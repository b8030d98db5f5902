from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from tfrec_llm.keras_api import tf, tfrs
from tfrec_llm.losses.in_batch_softmax import in_batch_softmax


def example(queries: int = 4, candidates: int = 9, seed: int = 0) -> tuple[Any, ...]:
    """Corrected scores, a mask and log probabilities; uncorrected scores lie above -3."""
    generator = np.random.default_rng(seed)
    log_probability = np.log(generator.uniform(0.01, 0.5, candidates))
    scores = generator.uniform(-3.0, 3.0, (queries, candidates)) - log_probability
    is_negative = generator.random((queries, candidates)) < 0.7
    is_negative[np.arange(queries), np.arange(queries)] = False
    return scores, is_negative, log_probability


def found(scores: Any, is_negative: Any, log_probability: Any = None, **options: Any) -> float:
    return float(
        in_batch_softmax(
            tf.constant(scores, tf.float32),
            tf.constant(np.asarray(is_negative, bool)),
            None if log_probability is None else tf.constant(log_probability, tf.float32),
            **options,
        )
    )


def test_value_and_gradients_equal_the_retrieval_task_of_tensorflow_recommenders() -> None:
    generator = np.random.default_rng(3)
    queries = tf.constant(generator.normal(size=(5, 3)), tf.float32)
    candidates = tf.constant(generator.normal(size=(12, 3)), tf.float32)
    ids = tf.constant([0, 1, 0, 2, 1, 0, 4, 3, 1, 1, 5, 6])
    probability = tf.constant(generator.uniform(0.01, 0.9, 12), tf.float32)
    allowed = generator.random((5, 12)) < 0.8
    allowed |= np.eye(5, 12, dtype=bool)

    task = tfrs.tasks.Retrieval(
        loss=tf.keras.losses.CategoricalCrossentropy(
            from_logits=True, reduction=tf.keras.losses.Reduction.SUM_OVER_BATCH_SIZE
        ),
        remove_accidental_hits=True,
    )

    def theirs() -> Any:
        return task(
            queries,
            candidates,
            candidate_sampling_probability=probability,
            candidate_ids=ids,
            score_mask=tf.constant(allowed),
            compute_metrics=False,
            compute_batch_metrics=False,
        )

    def ours() -> Any:
        scores = tf.matmul(queries, candidates, transpose_b=True) - tf.math.log(probability)
        return in_batch_softmax(scores, (ids[:5, None] != ids[None, :]) & tf.constant(allowed))

    answers = []
    for loss in (theirs, ours):
        with tf.GradientTape() as tape:
            tape.watch([queries, candidates])
            value = loss()
        answers.append([value, *tape.gradient(value, [queries, candidates])])
    for wanted, got in zip(*answers, strict=True):
        np.testing.assert_allclose(got, wanted, atol=1e-6)


def test_smoothing_is_the_cross_entropy_of_a_label_spread_evenly_over_the_corpus() -> None:
    scores, is_negative, log_probability = example()
    losses = []
    for i in range(4):
        negatives = np.flatnonzero(is_negative[i])
        spread = 1.0 / np.exp(log_probability[negatives])
        label = np.r_[0.8, 0.2 * spread / spread.sum()]
        exponentials = np.exp(scores[i, np.r_[i, negatives]])
        losses.append(-label @ np.log(exponentials / exponentials.sum()))
    got = found(scores, is_negative, log_probability, label_smoothing=0.2)
    assert got == pytest.approx(np.mean(losses), abs=1e-5)


def test_without_probabilities_smoothing_is_even_over_the_negatives_that_count() -> None:
    # One positive and two negatives of score 0, one that is masked: all shares are a third.
    assert found([[0.0, 0.0, 0.0, 9.0]], [[0, 1, 1, 0]], label_smoothing=0.5) == pytest.approx(
        math.log(3.0)
    )
    # A score of 3 for one of both: -.5 ln(1 / z) - .25 ln(e³ / z) - .25 ln(1 / z).
    z = math.e**3 + 2.0
    assert found([[0.0, 3.0, 0.0]], [[0, 1, 1]], label_smoothing=0.5) == pytest.approx(
        math.log(z) - 0.75, abs=1e-5
    )


@pytest.mark.parametrize("share", [0.05, 0.5])
def test_debiasing_subtracts_the_expected_share_of_false_negatives(share: float) -> None:
    """With the larger share too little is left of some queries, and the least counts."""
    scores, is_negative, log_probability = example(seed=5)
    losses = []
    for i in range(4):
        positive = math.exp(scores[i, i])
        negatives = np.flatnonzero(is_negative[i])
        total = sum(math.exp(scores[i, j]) for j in negatives)
        rest = (total - share * len(negatives) * positive) / (1.0 - share)
        least = sum(math.exp(-3.0 - log_probability[j]) for j in negatives)
        losses.append(-math.log(positive / (positive + max(rest, least))))
    got = found(scores, is_negative, log_probability, debias_share=share, lowest_score=-3.0)
    assert got == pytest.approx(np.mean(losses), abs=1e-5)


def test_a_corpus_that_scores_alike_is_not_changed_by_debiasing() -> None:
    plain = found(np.zeros((1, 5)), [[0, 1, 1, 1, 0]])
    debiased = found(np.zeros((1, 5)), [[0, 1, 1, 1, 0]], debias_share=0.3, lowest_score=-1.0)
    assert plain == pytest.approx(math.log(4.0)) == pytest.approx(debiased)


@pytest.mark.parametrize("lead", [2.0, 50.0, 3000.0])
def test_where_nothing_is_left_the_negatives_score_lowest_and_learn_no_more(lead: float) -> None:
    scores = tf.constant([[lead, 0.0, 0.5]])
    with tf.GradientTape() as tape:
        tape.watch(scores)
        loss = in_batch_softmax(
            scores, tf.ones((1, 3), tf.bool), debias_share=0.4, lowest_score=-1.0
        )
    wanted = math.log1p(2.0 * math.exp(-1.0 - lead)) if lead < 700 else 0.0
    assert float(loss) == pytest.approx(wanted, abs=1e-6)
    gradient = tape.gradient(loss, scores).numpy()[0]
    assert np.isfinite(gradient).all() and gradient[0] <= 0.0
    assert gradient[1:].tolist() == [0.0, 0.0]


def test_what_is_left_may_be_zero_exactly() -> None:
    scores = tf.constant([[math.log(2.0), 0.0]])
    with tf.GradientTape() as tape:
        tape.watch(scores)
        options = {"debias_share": 0.5, "lowest_score": -1.0}
        loss = in_batch_softmax(scores, tf.ones((1, 2), tf.bool), **options)
    assert np.isfinite(tape.gradient(loss, scores)).all()


@pytest.mark.parametrize("options", [{}, {"label_smoothing": 0.3}, {"debias_share": 0.1}])
def test_what_is_masked_changes_neither_value_nor_gradient(options: dict[str, float]) -> None:
    scores, is_negative, log_probability = example(seed=5)
    answers = []
    for noise in (0.0, 40.0):
        changed = np.where(is_negative | np.eye(4, 9, dtype=bool), scores, scores + noise)
        tensor = tf.constant(changed, tf.float32)
        with tf.GradientTape() as tape:
            tape.watch(tensor)
            loss = in_batch_softmax(
                tensor,
                tf.constant(is_negative),
                tf.constant(log_probability, tf.float32),
                lowest_score=-3.0,
                **options,
            )
        answers.append((float(loss), tape.gradient(loss, tensor).numpy()))
    assert answers[0][0] == pytest.approx(answers[1][0], abs=1e-6)
    np.testing.assert_allclose(answers[0][1], answers[1][1], atol=1e-6)


@pytest.mark.parametrize("options", [{}, {"label_smoothing": 0.3}, {"debias_share": 0.1}])
def test_queries_without_negatives_and_no_queries_lose_nothing(options: dict[str, float]) -> None:
    assert found([[2.0, 5.0]], [[0, 0]], lowest_score=-1.0, **options) == pytest.approx(0.0)
    assert found(np.zeros((0, 3)), np.zeros((0, 3)), lowest_score=-1.0, **options) == 0.0
    assert found(np.zeros((0, 0)), np.zeros((0, 0)), lowest_score=-1.0, **options) == 0.0


def test_what_cannot_be_is_refused() -> None:
    for name in ("label_smoothing", "debias_share"):
        with pytest.raises(ValueError, match=rf"`{name}` must lie in \[0, 1\), got 1.0"):
            found([[0.0]], [[0]], **{name: 1.0})
    with pytest.raises(ValueError, match="`debias_share` needs `lowest_score`"):
        found([[0.0]], [[0]], debias_share=0.1)
