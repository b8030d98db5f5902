from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from tfrec_llm.data.queries import Queries


@pytest.fixture
def queries() -> Queries:
    return Queries(
        user_ids=["a", "b", "c"],
        histories=[np.array([0]), np.array([], np.int32), np.array([2, 1])],
        texts=["", "space", "love"],
        targets=np.array([5, 6, 7], np.int32),
        is_cold_user=np.array([False, True, False]),
    )


@pytest.mark.parametrize("rows", [[2, 0], np.array([2, 0])])
def test_take_keeps_every_part_of_a_row_together(queries: Queries, rows: list[int]) -> None:
    taken = queries.take(rows)
    assert len(taken) == 2
    assert taken.user_ids == ["c", "a"] and taken.texts == ["love", ""]
    assert [h.tolist() for h in taken.histories] == [[2, 1], [0]]
    assert taken.targets.tolist() == [7, 5] and taken.is_cold_user.tolist() == [False, False]


@pytest.mark.parametrize("rows", [[], np.array([], np.int64)])
def test_taking_nothing_leaves_nothing(queries: Queries, rows: list[int]) -> None:
    nothing = queries.take(rows)
    assert len(nothing) == 0 and len(nothing.targets) == 0


def test_the_queries_taken_from_stay_as_they_are(queries: Queries) -> None:
    queries.take([0]).targets[0] = 99
    assert queries.targets.tolist() == [5, 6, 7]


def test_take_takes_gaps_along_where_there_are_any(queries: Queries) -> None:
    assert queries.take([2]).gaps is None
    gaps = [np.array([0]), np.array([], np.int32), np.array([0, 9])]
    taken = replace(queries, gaps=gaps).take([2, 0]).gaps
    assert taken is not None and [g.tolist() for g in taken] == [[0, 9], [0]]


def test_a_sample_keeps_the_order_and_repeats_nobody(queries: Queries) -> None:
    for seed in range(5):
        drawn = queries.sample(2, np.random.default_rng(seed)).user_ids
        assert len(set(drawn)) == 2 and drawn == sorted(drawn)
    assert queries.sample(3, np.random.default_rng(0)) is queries
