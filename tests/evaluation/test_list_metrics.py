"""Coverage, novelty and popularity bias on numbers a person can check."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tfrec_llm.evaluation.coverage import coverage_at_k
from tfrec_llm.evaluation.novelty import mean_of_listed, novelty_at_k
from tfrec_llm.evaluation.popularity_bias import popularity_bias_at_k

NOTHING = np.zeros((0, 3), np.int32)


def test_coverage_counts_each_item_once_and_ignores_places_after_k() -> None:
    lists = np.array([[0, 1, 2], [1, 0, 3]])
    assert coverage_at_k(lists, 2, num_items=8) == 0.25


def test_coverage_does_not_take_padding_for_the_last_item() -> None:
    assert coverage_at_k(np.array([[0, -1]]), 2, num_items=4) == 0.25


def test_novelty_grows_as_items_get_rarer() -> None:
    counts = np.array([61, 0, 1])  # (61 + 1, 0 + 1, 1 + 1) of 62 + 3 = 65 parts
    assert novelty_at_k(np.array([[1]]), 1, counts) == pytest.approx(np.log2(65))
    assert novelty_at_k(np.array([[2]]), 1, counts) == pytest.approx(np.log2(65 / 2))
    assert novelty_at_k(np.array([[1, 2]]), 2, counts) == pytest.approx(np.log2(65) - 0.5)


def test_lists_of_different_lengths_weigh_alike() -> None:
    lists = np.array([[0, 0, 0], [1, -1, -1]])
    assert mean_of_listed(np.array([1.0, 5.0]), lists).tolist() == [1.0, 5.0]


def test_popularity_bias_is_1_for_a_model_that_repeats_the_users_taste() -> None:
    counts = np.array([10, 10, 2])
    assert popularity_bias_at_k(np.array([[0]]), 1, [np.array([1])], counts) == 1.0


def test_popularity_bias_leaves_out_queries_without_history_or_list() -> None:
    counts = np.array([10, 5, 2])
    lists = np.array([[0], [2], [-1]])
    histories = [np.array([1, -1]), np.array([], np.int32), np.array([0])]
    assert popularity_bias_at_k(lists, 1, histories, counts) == 2.0


def test_what_is_not_defined_is_none() -> None:
    counts = np.array([3, 0, 0])
    assert coverage_at_k(NOTHING, 2, 3) is None
    assert novelty_at_k(NOTHING, 2, counts) is None
    assert novelty_at_k(np.array([[-1, -1]]), 2, counts) is None
    assert popularity_bias_at_k(NOTHING, 2, [], counts) is None
    assert popularity_bias_at_k(np.array([[0]]), 1, [np.array([])], counts) is None
    assert popularity_bias_at_k(np.array([[0]]), 1, [np.array([1])], counts) is None


@given(st.data())
def test_coverage_stays_between_0_and_1_and_never_falls_when_k_grows(data: st.DataObject) -> None:
    num_items = data.draw(st.integers(1, 9))
    rows = st.lists(st.integers(-1, num_items - 1), min_size=4, max_size=4)
    lists = np.array(data.draw(st.lists(rows, min_size=1, max_size=5)))
    values = [coverage_at_k(lists, k, num_items) for k in (1, 2, 4)]
    assert values == sorted(values) and 0 <= values[0] and values[-1] <= 1
