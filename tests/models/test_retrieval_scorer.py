from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from tfrec_llm.data.queries import Queries
from tfrec_llm.keras_api import tf
from tfrec_llm.models.retrieval_scorer import RetrievalScorer
from tfrec_llm.models.two_tower_model import TwoTowerModel

Make = Callable[..., Any]
TEXTS = {"space": np.full(6, 0.3, np.float32), "love": np.linspace(-1, 1, 6).astype(np.float32)}
POPULARITY = np.arange(10)[::-1].astype(np.float32)


def queries(histories: list[list[int]], texts: list[str]) -> Queries:
    count = len(texts)
    return Queries(
        user_ids=[f"u{i}" for i in range(count)],
        histories=[np.array(h, np.int32) for h in histories],
        texts=texts,
        targets=np.zeros(count, np.int32),
        is_cold_user=np.zeros(count, bool),
    )


def by_hand(model: TwoTowerModel, corpus: np.ndarray, history: list[int], text: str) -> np.ndarray:
    """One request alone, without padding, items scored one at a time."""
    if not history and not text:
        return POPULARITY
    numbers = np.where(POPULARITY > 0, np.arange(10), -1)  # without clicks: by the text alone
    items = model.embed_items(corpus, tf.constant(numbers, tf.int32)).numpy()
    recent = history[-model.user_tower.max_history :]
    user = model.embed_users(
        tf.constant(items[recent].reshape(1, -1, 4)),
        tf.ones((1, len(recent)), tf.bool),
        tf.constant(TEXTS.get(text, np.zeros(6, np.float32))[None]),
        tf.constant([bool(text)]),
    ).numpy()[0]
    return np.array([float(user @ item) for item in items])


CASES = [
    ([1, 2, 3], ""),
    ([4], "love"),
    ([], "space"),
    ([], ""),
    ([0, 1, 2, 3, 4, 5, 6, 7], "space"),
    ([9, 9], ""),
]


@pytest.fixture
def model(make_model: Make) -> TwoTowerModel:
    return make_model("transformer", max_history=4)


def test_scores_equal_those_of_each_request_alone(model: TwoTowerModel, corpus: np.ndarray) -> None:
    scorer = RetrievalScorer(model, corpus, POPULARITY, TEXTS)
    found = scorer.score(queries([c[0] for c in CASES], [c[1] for c in CASES]))
    assert found.shape == (6, 10) and found.dtype == np.float32
    for row, (history, text) in zip(found, CASES, strict=True):
        np.testing.assert_allclose(row, by_hand(model, corpus, history, text), atol=1e-5)


def test_a_user_of_whom_nothing_is_known_gets_the_popular_items(
    model: TwoTowerModel, corpus: np.ndarray
) -> None:
    scorer = RetrievalScorer(model, corpus, POPULARITY)
    np.testing.assert_array_equal(scorer.score(queries([[], []], ["", ""]))[1], POPULARITY)


def test_scores_of_a_query_do_not_depend_on_the_queries_beside_it(
    model: TwoTowerModel, corpus: np.ndarray
) -> None:
    scorer = RetrievalScorer(model, corpus, POPULARITY, TEXTS)
    everyone = queries([c[0] for c in CASES], [c[1] for c in CASES])
    together = scorer.score(everyone)
    turned = scorer.score(everyone.take([5, 4, 3, 2, 1, 0]))
    np.testing.assert_allclose(turned[::-1], together, atol=1e-5)


def test_no_queries_give_no_scores(model: TwoTowerModel, corpus: np.ndarray) -> None:
    assert RetrievalScorer(model, corpus, POPULARITY).score(queries([], [])).shape == (0, 10)


def test_times_are_told_to_a_model_that_learned_from_them(
    make_model: Make, corpus: np.ndarray
) -> None:
    model = make_model("gru", max_history=3, time_gaps=True)
    gaps = [np.array([0, 9, 5, 30], np.int32), np.array([0], np.int32)]
    asked = replace(queries([[1, 2, 3, 4], [5]], ["", ""]), gaps=gaps)
    scorer = RetrievalScorer(model, corpus, POPULARITY)
    users = model.embed_users(
        tf.constant(scorer.item_embeddings[[[2, 3, 4]]]),
        tf.ones((1, 3), tf.bool),
        tf.zeros((1, 6)),
        tf.constant([False]),
        tf.constant([[9, 5, 30]]),
    )
    found = scorer.score(asked)
    np.testing.assert_allclose(found[0], users.numpy()[0] @ scorer.item_embeddings.T, atol=1e-5)
    untold = RetrievalScorer(model, corpus, POPULARITY, with_gaps=False).score(asked)
    assert np.abs(found - untold)[0].max() > 1e-3
    np.testing.assert_allclose(untold[1], found[1], atol=1e-5)  # a first item has no gap


def test_queries_without_times_are_scored_as_those_of_unknown_times(
    make_model: Make, corpus: np.ndarray
) -> None:
    scorer = RetrievalScorer(make_model("gru", time_gaps=True), corpus, POPULARITY, TEXTS)
    asked = queries([c[0] for c in CASES], [c[1] for c in CASES])
    unknown = replace(asked, gaps=[np.zeros(len(c[0]), np.int32) for c in CASES])
    np.testing.assert_array_equal(scorer.score(asked), scorer.score(unknown))
