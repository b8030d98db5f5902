from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from tfrec_llm.keras_api import tf
from tfrec_llm.losses.hard_negatives import hard_negatives


def kept(
    scores: Any,
    is_negative: Any,
    most: int | None,
    margin: float | None = None,
    cosines: Any = None,
) -> np.ndarray:
    scores = tf.constant(scores, tf.float32)
    cosines = scores if cosines is None else tf.constant(cosines, tf.float32)
    mask = tf.constant(np.asarray(is_negative, bool))
    return np.asarray(hard_negatives(scores, cosines, mask, most, margin))


def test_the_highest_scored_of_each_query_are_kept() -> None:
    generator = np.random.default_rng(0)
    scores, mask = generator.normal(size=(6, 20)), generator.random((6, 20)) < 0.6
    found = kept(scores, mask, 4)
    for i in range(6):
        allowed = np.flatnonzero(mask[i])
        wanted = allowed[np.argsort(-scores[i, allowed])[:4]]
        assert set(np.flatnonzero(found[i])) == set(wanted)


def test_what_is_masked_never_comes_back_where_too_few_are_left() -> None:
    assert kept([[0.0, 9.0, 8.0, 1.0]], [[0, 0, 0, 1]], 3).tolist() == [[False] * 3 + [True]]
    assert not kept([[0.0, 9.0]], [[0, 0]], 1).any()


def test_scores_that_tie_are_not_kept_beyond_the_number() -> None:
    assert kept(np.zeros((3, 8)), np.ones((3, 8)), 2).sum(axis=1).tolist() == [2, 2, 2]


def test_more_than_there_are_keeps_all() -> None:
    mask = [[0, 1, 1], [1, 0, 1]]
    assert kept(np.zeros((2, 3)), mask, 99).tolist() == np.array(mask, bool).tolist()
    assert kept(np.zeros((2, 3)), mask, None).tolist() == np.array(mask, bool).tolist()


def test_the_guard_drops_what_leads_the_positive_by_more_than_the_margin() -> None:
    cosines = [[0.5, 0.59, 0.61, 0.9], [0.9, -0.8, -0.75, -0.65]]
    found = kept(np.zeros((2, 4)), [[0, 1, 1, 1], [1, 0, 1, 1]], None, 0.1, cosines)
    assert found.tolist() == [[False, True, False, False], [False, False, True, False]]


def test_a_margin_below_zero_drops_negatives_just_under_the_positive() -> None:
    assert kept([[0.5, 0.45, 0.3]], [[0, 1, 1]], None, -0.1).tolist() == [[False, False, True]]


def test_the_guard_comes_before_the_choice() -> None:
    """The hardest is a false negative; the one kept is the hardest of the others."""
    assert kept([[0.5, 0.9, 0.4, 0.3]], [[0, 1, 1, 1]], 1, 0.0).tolist() == [
        [False, False, True, False]
    ]


def test_the_choice_is_by_score_and_the_guard_by_cosine() -> None:
    found = kept([[0.0, 5.0, 1.0, 3.0]], [[0, 1, 1, 1]], 1, 0.1, [[0.5, 0.7, 0.1, 0.2]])
    assert found.tolist() == [[False, False, False, True]]


def test_no_queries_and_no_candidates_give_an_empty_mask() -> None:
    assert kept(np.zeros((0, 3)), np.zeros((0, 3)), 2, 0.1).shape == (0, 3)
    assert kept(np.zeros((0, 0)), np.zeros((0, 0)), 2, 0.1).shape == (0, 0)


def test_none_to_keep_is_refused() -> None:
    with pytest.raises(ValueError, match="`num_hard_negatives` must be at least 1, got 0"):
        kept([[0.0]], [[0]], 0)
