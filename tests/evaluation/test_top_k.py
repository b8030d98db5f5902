"""Top-k lists: exact, fair to ties, without the excluded."""

from __future__ import annotations

import hashlib

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tfrec_llm.evaluation.top_k import tie_order, top_k


def test_the_tie_order_is_that_of_the_sha256_of_the_ids() -> None:
    ids = [str(n) for n in range(50)] + ["书", ""]
    listed = [ids[i] for i in tie_order(ids)]
    assert listed == sorted(ids, key=lambda i: hashlib.sha256(i.encode()).hexdigest())


def test_the_tie_order_survives_new_items_and_another_order_of_rows() -> None:
    ids = [f"item {n}" for n in range(40)]
    listed = [ids[i] for i in tie_order(ids)]
    more = ["new", *reversed(ids)]
    assert [more[i] for i in tie_order(more) if more[i] != "new"] == listed


def test_best_come_first_and_ties_follow_the_order() -> None:
    scores = np.array([[1, 5, 5, 0, 5]], np.float32)
    assert top_k(scores, 4, np.array([4, 3, 2, 1, 0])).tolist() == [[4, 2, 1, 0]]


def test_a_tie_at_the_last_place_goes_to_the_first_in_order() -> None:
    scores = np.array([[7, 1, 1, 1, 1], [0, 0, 0, 0, 9]], np.float32)
    assert top_k(scores, 2, np.array([3, 1, 0, 2, 4])).tolist() == [[0, 3], [4, 3]]


def test_excluded_items_leave_a_gap_at_the_end() -> None:
    scores = np.array([[-np.inf, 2, -np.inf], [-np.inf] * 3], np.float32)
    assert top_k(scores, 3, np.arange(3)).tolist() == [[1, -1, -1], [-1, -1, -1]]


def test_k_beyond_the_corpus_is_padded() -> None:
    assert top_k(np.array([[1.0, 2.0]]), 4, np.arange(2)).tolist() == [[1, 0, -1, -1]]


def test_items_outside_the_order_take_no_part() -> None:
    scores = np.array([[9.0, 1.0, 2.0]])
    assert top_k(scores, 2, np.array([1, 2])).tolist() == [[2, 1]]
    assert top_k(scores, 2, np.array([], np.int32)).tolist() == [[-1, -1]]


def test_no_queries_give_no_lists() -> None:
    assert top_k(np.zeros((0, 3)), 2, np.arange(3)).shape == (0, 2)


def test_nan_and_k_below_1_are_refused() -> None:
    with pytest.raises(ValueError, match="NaN"):
        top_k(np.array([[np.nan, 1.0]]), 1, np.arange(2))
    with pytest.raises(ValueError, match="`k` must be at least 1, got 0"):
        top_k(np.ones((1, 2)), 0, np.arange(2))


def test_the_scores_are_left_alone() -> None:
    scores = np.array([[3.0, 1.0, 2.0]])
    top_k(scores, 2, np.arange(3))
    assert scores.tolist() == [[3.0, 1.0, 2.0]]


def test_signed_zeros_are_equal() -> None:
    assert top_k(np.array([[-0.0, 0.0, -0.0]]), 2, np.array([1, 0, 2])).tolist() == [[1, 0]]


@given(st.integers(1, 8), st.integers(1, 12), st.integers(0, 2**32 - 1))
def test_lists_are_sorted_unique_and_from_the_corpus(k: int, num_items: int, seed: int) -> None:
    generator = np.random.default_rng(seed)
    scores = generator.integers(0, 4, (3, num_items)).astype(np.float32)
    for row, listed in zip(scores, top_k(scores, k, generator.permutation(num_items)), strict=True):
        real = listed[listed >= 0]
        assert len(real) == min(k, num_items) == len(set(real.tolist()))
        assert (np.diff(row[real]) <= 0).all() and real.max() < num_items
