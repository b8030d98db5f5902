"""Recall, NDCG and reciprocal rank on numbers a person can check, and their laws."""

from __future__ import annotations

import math

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from tfrec_llm.evaluation.ndcg import ndcg_at_k
from tfrec_llm.evaluation.recall import recall_at_k
from tfrec_llm.evaluation.reciprocal_rank import reciprocal_rank

RANKS = arrays.arrays(np.int32, st.integers(0, 30), elements=st.integers(-1, 99))


def test_recall_counts_the_first_k_places_and_no_more() -> None:
    assert recall_at_k(np.array([0, 4, 5, 99, -1]), 5).tolist() == [1, 1, 0, 0, 0]


def test_ndcg_halves_at_the_third_place() -> None:
    assert ndcg_at_k(np.array([0, 1, 2, 3, -1]), 3).tolist() == [1, 1 / math.log2(3), 0.5, 0, 0]


def test_reciprocal_rank_is_one_over_the_place_counted_from_one() -> None:
    assert reciprocal_rank(np.array([0, 1, 3, -1])).tolist() == [1, 0.5, 0.25, 0]


def test_no_queries_give_no_values() -> None:
    none = np.zeros(0, np.int32)
    assert [len(recall_at_k(none, 5)), len(ndcg_at_k(none, 5)), len(reciprocal_rank(none))] == [
        0
    ] * 3


@given(RANKS, st.integers(1, 100))
def test_metrics_stay_between_0_and_1_and_never_exceed_recall(ranks: np.ndarray, k: int) -> None:
    recall, ndcg = recall_at_k(ranks, k), ndcg_at_k(ranks, k)
    assert ((recall == 0) | (recall == 1)).all()
    assert (ndcg >= 0).all() and (ndcg <= recall).all()
    assert ((reciprocal_rank(ranks) >= 0) & (reciprocal_rank(ranks) <= 1)).all()


@given(RANKS, st.integers(1, 99))
def test_metrics_never_fall_when_k_grows(ranks: np.ndarray, k: int) -> None:
    assert (recall_at_k(ranks, k) <= recall_at_k(ranks, k + 1)).all()
    assert (ndcg_at_k(ranks, k) <= ndcg_at_k(ranks, k + 1)).all()


@given(st.integers(1, 20), st.integers(1, 100))
def test_metrics_are_1_for_perfect_lists_and_0_where_the_target_is_absent(n: int, k: int) -> None:
    first, absent = np.zeros(n, np.int32), np.full(n, -1)
    for metric in (lambda r: recall_at_k(r, k), lambda r: ndcg_at_k(r, k), reciprocal_rank):
        assert (metric(first) == 1).all()
        assert (metric(absent) == 0).all()
