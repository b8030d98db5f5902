"""From a table to a matrix of users and items."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest

from tfrec_llm.baselines.interactions import Interactions
from tfrec_llm.errors import DataError


def _frame(users: list[str], items: list[int]) -> pl.DataFrame:
    schema = {"user_id": pl.String, "item_number": pl.Int32}
    return pl.DataFrame({"user_id": users, "item_number": items}, schema=schema)


def test_rows_follow_the_first_appearance_of_users() -> None:
    interactions = Interactions.from_frame(_frame(["v", "u", "v"], [0, 1, 2]), 3)
    assert interactions.user_ids == ["v", "u"]
    assert interactions.matrix.toarray().tolist() == [[1, 0, 1], [0, 1, 0]]


def test_a_pair_that_occurs_twice_counts_once() -> None:
    interactions = Interactions.from_frame(_frame(["u", "u", "v"], [1, 1, 1]), 2)
    assert interactions.matrix.toarray().tolist() == [[0, 1], [0, 1]]
    assert interactions.item_counts.tolist() == [0, 2]


def test_no_interactions_give_an_empty_matrix() -> None:
    interactions = Interactions.from_frame(_frame([], []), 4)
    assert interactions.matrix.shape == (0, 4)
    assert interactions.item_counts.tolist() == [0, 0, 0, 0]


@pytest.mark.parametrize("number", [-1, 2])
def test_an_item_outside_the_corpus_is_named_with_its_row(number: int) -> None:
    with pytest.raises(DataError, match=f"interaction 1 has item number {number}, but the corpus"):
        Interactions.from_frame(_frame(["u", "u"], [0, number]), 2)


def test_the_matrix_is_float32() -> None:
    assert Interactions.from_frame(_frame(["u"], [0]), 1).matrix.dtype == np.float32


def test_histories_follow_positions_and_without_them_the_rows() -> None:
    frame = _frame(["v", "u", "v", "v"], [0, 1, 2, 1])
    interactions = Interactions.from_frame(frame, 3)
    assert [history.tolist() for history in interactions.histories] == [[0, 2, 1], [1]]
    placed = frame.with_columns(position=pl.Series([5, 0, 3, 4]))
    interactions = Interactions.from_frame(placed, 3)
    assert interactions.user_ids == ["v", "u"]
    assert [history.tolist() for history in interactions.histories] == [[2, 1, 0], [1]]
