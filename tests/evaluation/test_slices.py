"""Which queries are cold, tail, or of cold users."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from tfrec_llm.data.queries import Queries
from tfrec_llm.evaluation.slices import query_slices

MakeQueries = Callable[..., Queries]


def test_an_item_without_training_interactions_is_cold_and_not_tail(
    make_queries: MakeQueries,
) -> None:
    masks = query_slices(make_queries([0, 1, 2]), np.array([0, 1, 99]), np.arange(3))
    assert masks["cold_items"].tolist() == [True, False, False]
    assert masks["tail_items"].tolist() == [False, True, False]
    assert masks["all"].all()


def test_the_tail_holds_at_most_a_fifth_of_the_interactions(make_queries: MakeQueries) -> None:
    counts = np.array([50, 30, 10, 6, 4])  # 4 + 6 + 10 = 20 of 100
    masks = query_slices(make_queries(range(5)), counts, np.arange(5))
    assert masks["tail_items"].tolist() == [False, False, True, True, True]
    counts[2] = 11
    masks = query_slices(make_queries(range(5)), counts, np.arange(5))
    assert masks["tail_items"].tolist() == [False, False, False, True, True]


def test_equal_counts_at_the_border_follow_the_tie_order_not_the_rows(
    make_queries: MakeQueries,
) -> None:
    counts, order = np.ones(10, int), np.array([7, 3, 0, 1, 2, 4, 5, 6, 8, 9])
    masks = query_slices(make_queries(range(10)), counts, order)
    assert np.flatnonzero(masks["tail_items"]).tolist() == [3, 7]


def test_cold_users_are_those_marked(make_queries: MakeQueries) -> None:
    queries = make_queries([0, 0], cold=[True, False])
    masks = query_slices(queries, np.array([1]), np.arange(1))
    assert masks["cold_users"].tolist() == [True, False]


def test_no_queries_give_empty_masks(make_queries: MakeQueries) -> None:
    masks = query_slices(make_queries([]), np.array([1, 0]), np.arange(2))
    assert all(len(mask) == 0 for mask in masks.values())
