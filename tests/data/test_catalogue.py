from __future__ import annotations

import numpy as np
import polars as pl
from hypothesis import given
from hypothesis import strategies as st

from tfrec_llm.data.catalogue import UNKNOWN, Catalogue


def catalogue(item_ids: list[str]) -> Catalogue:
    return Catalogue(
        pl.DataFrame(
            {
                "item_id": item_ids,
                "title": [f"T {i}" for i in item_ids],
                "text": [f"X {i}" for i in item_ids],
            },
            schema={"item_id": pl.String, "title": pl.String, "text": pl.String},
        )
    )


@given(st.lists(st.text(max_size=5), unique=True, max_size=20))
def test_ids_and_numbers_go_back_and_forth(item_ids: list[str]) -> None:
    made = catalogue(item_ids)
    assert made.numbers(item_ids).tolist() == list(range(len(item_ids)))
    assert made.ids(made.numbers(item_ids)) == item_ids
    assert len(made) == len(item_ids)


def test_numbers_are_int32_also_when_there_are_none() -> None:
    assert catalogue(["a"]).numbers(["a"]).dtype == np.int32
    assert catalogue([]).numbers([]).dtype == np.int32


def test_an_unknown_id_has_the_number_unknown_and_is_left_out_on_the_way_back() -> None:
    made = catalogue(["a", "b"])
    numbers = made.numbers(["b", "?", "a"])
    assert numbers.tolist() == [1, UNKNOWN, 0]
    assert made.ids(numbers) == ["b", "a"]


def test_ids_that_look_like_numbers_keep_their_writing() -> None:
    made = catalogue(["10", "010", " 10"])
    assert made.numbers(["010", " 10", "10", "1"]).tolist() == [1, 2, 0, -1]


def test_membership_titles_and_texts() -> None:
    made = catalogue(["a", "b"])
    assert "a" in made and "c" not in made
    assert (made.titles[1], made.texts[1]) == ("T b", "X b")


def test_columns_beyond_the_three_are_left_behind() -> None:
    frame = catalogue(["a"]).frame.with_columns(price=pl.lit(3))
    assert Catalogue(frame).frame.columns == ["item_id", "title", "text"]
