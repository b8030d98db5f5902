"""A task in which tokens decide: a user takes what has the word of their history."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from tfrec_llm.data.queries import Queries
from tfrec_llm.errors import TfrecLlmError
from tfrec_llm.evaluation.auc import auc
from tfrec_llm.keras_api import keras
from tfrec_llm.models.pointwise_ranker import PointwiseRanker
from tfrec_llm.models.ranker_features import RankerFeatures
from tfrec_llm.models.ranker_scorer import RankerScorer
from tfrec_llm.trainer.ranking_pairs import sample_pairs
from tfrec_llm.trainer.train_ranker import RankerOptimisation, RankingExamples, fit_ranker

WORDS, ITEMS_OF_A_WORD, DIM = 4, 10, 8
NUM_ITEMS = WORDS * ITEMS_OF_A_WORD


@pytest.fixture(scope="module")
def features() -> RankerFeatures:
    draw = np.random.default_rng(0)
    words = 3.0 * np.eye(WORDS, DIM)
    tokens = draw.normal(0, 0.5, (NUM_ITEMS, 3, DIM))
    tokens[:, 1] += words[np.arange(NUM_ITEMS) % WORDS]
    tokens[::3, 2] = 0
    texts = np.zeros((1, 1, DIM))
    texts[0, 0] = words[0]
    return RankerFeatures(tokens.astype(np.float16), texts.astype(np.float16), {"first": 0})


def _examples(num_cases: int, seed: int) -> RankingExamples:
    draw = np.random.default_rng(seed)
    words = draw.integers(WORDS, size=num_cases)
    taken = words[:, None] + WORDS * draw.permuted(
        np.tile(np.arange(ITEMS_OF_A_WORD), (num_cases, 1)), axis=1
    )
    cases = Queries(
        user_ids=[f"u{n}" for n in range(num_cases)],
        histories=list(taken[:, :2].astype(np.int32)),
        texts=[""] * num_cases,
        targets=taken[:, 2],
        is_cold_user=np.zeros(num_cases, bool),
    )
    own = list(taken.astype(np.int32))
    return RankingExamples(cases, np.arange(num_cases), own, np.zeros((num_cases, 0), np.int32))


def _ranker() -> PointwiseRanker:
    keras.utils.set_random_seed(5)
    return PointwiseRanker(DIM, "correlation", token_dim=6, lstm_units=12, max_history=2)


def _optimisation(**changes: Any) -> RankerOptimisation:
    usual = {"batch_size": 64, "epochs": 4, "learning_rate": 0.01, "negatives": 2, "hard_share": 0}
    return RankerOptimisation(**{**usual, **changes})


def test_a_task_in_which_tokens_decide_is_learned(features: RankerFeatures) -> None:
    held_out = _examples(100, seed=2)
    pairs = sample_pairs(
        held_out.cases, held_out.own_items, held_out.owners, NUM_ITEMS, np.random.default_rng(3)
    )
    ranker = _ranker()

    def evaluate() -> float:
        scores = RankerScorer(ranker, features).logits(pairs.cases, pairs.rows, pairs.items)
        return auc(pairs.labels, scores)

    fit = fit_ranker(ranker, features, _examples(600, 1), _optimisation(), evaluate=evaluate)
    assert fit.best_auc == max(fit.aucs) > 0.9
    assert fit.losses[-1] < fit.losses[0]
    assert evaluate() == fit.best_auc  # the weights left are those of the best epoch


def test_training_stops_when_the_metric_no_longer_rises(features: RankerFeatures) -> None:
    metrics = iter([0.6, 0.7, 0.5, 0.6, 0.9])
    fit = fit_ranker(
        _ranker(),
        features,
        _examples(20, 1),
        _optimisation(epochs=5),
        evaluate=lambda: next(metrics),
    )
    assert (fit.best_epoch, fit.aucs) == (2, [0.6, 0.7, 0.5, 0.6])


def test_one_seed_gives_one_ranker(features: RankerFeatures) -> None:
    weights = []
    for _ in range(2):
        ranker = _ranker()
        fit_ranker(ranker, features, _examples(40, 1), _optimisation(epochs=1))
        weights.append([np.array(v.value) for v in ranker.variables])
    for first, second in zip(*weights, strict=True):
        np.testing.assert_array_equal(first, second)


def test_an_epoch_has_no_more_pairs_than_allowed(features: RankerFeatures) -> None:
    fit = fit_ranker(_ranker(), features, _examples(40, 1), _optimisation(epochs=1, max_pairs=30))
    assert fit.pairs_per_epoch == 30


def test_a_loss_that_is_no_number_ends_the_training(features: RankerFeatures) -> None:
    with pytest.raises(TfrecLlmError, match="Lower ranker.learning_rate"):
        fit_ranker(
            _ranker(), features, _examples(100, 1), _optimisation(epochs=3, learning_rate=1e38)
        )


def test_scores_do_not_depend_on_the_batch_size(features: RankerFeatures) -> None:
    cases = _examples(9, 4).cases
    scorer = RankerScorer(_ranker(), features)
    rows, items = np.arange(9), np.arange(9) * 4
    np.testing.assert_allclose(
        scorer.logits(cases, rows, items), scorer.logits(cases, rows, items, 2), atol=1e-6
    )
