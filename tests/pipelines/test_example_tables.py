from __future__ import annotations

from typing import Any

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tfrec_llm.config.run_config import DataSection
from tfrec_llm.data.catalogue import Catalogue
from tfrec_llm.data.splits import split
from tfrec_llm.errors import DataError
from tfrec_llm.pipelines.example_tables import (
    dataset_of_tables,
    name_of_table,
    table_from_batches,
)

MEMORY = DataSection(source="memory")


def batch(**columns: list[Any]) -> dict[str, list[Any]]:
    return columns


@settings(deadline=None, max_examples=30)
@given(st.randoms(use_true_random=False), st.integers(1, 6))
def test_neither_the_order_of_records_nor_their_batches_change_what_is_held_out(
    random: Any, size: int
) -> None:
    clicks = [(u, i, f"2024-01-{d:02}") for u in "abc" for d, i in enumerate("wxyz", start=1)]
    random.shuffle(clicks)
    batches = [
        batch(
            user_id=[[u.encode()] for u, _, _ in part],
            item_id=[[i.encode()] for _, i, _ in part],
            timestamp=[[t.encode()] for _, _, t in part],
        )
        for part in (clicks[n : n + size] for n in range(0, len(clicks), size))
    ]
    items = pl.DataFrame({"item_id": list("wxyz"), "title": list("WXYZ")})
    tables = {"items": items, "interactions": table_from_batches(batches, "interactions")}
    dataset = dataset_of_tables(tables, MEMORY)
    catalogue = Catalogue(dataset.items)
    parts = split(dataset, catalogue)
    for row in range(len(parts.test)):
        assert catalogue.ids(parts.test.histories[row]) == ["w", "x", "y"]
        assert catalogue.item_ids[parts.test.targets[row]] == "z"
    taken = parts.train_and_validation["item_number"].to_list()
    assert catalogue.numbers(["z"])[0] not in taken  # the newest of everybody is the test
    assert _digests.setdefault("all", dataset.sha256) == dataset.sha256


_digests: dict[str, str] = {}


def test_a_feature_that_some_batches_lack_is_empty_there() -> None:
    first, second = batch(item_id=[[b"b"]]), batch(item_id=[[b"a"]], title=[["é".encode()]])
    assert table_from_batches([first, second], "items").rows() == [("a", "é"), ("b", "")]
    assert table_from_batches([second, first], "items").rows() == [("a", "é"), ("b", "")]


def test_several_values_in_one_cell_are_an_error() -> None:
    with pytest.raises(DataError, match="`title`.*`items` has 2 values"):
        table_from_batches([batch(title=[[b"a", b"b"]])], "items")


def test_no_rows_are_an_error() -> None:
    with pytest.raises(DataError, match="`users` hold no rows"):
        table_from_batches([], "users")


def test_tables_are_told_apart_by_the_ids_of_the_configuration() -> None:
    data = DataSection(source="memory", columns={"item_id": "isbn", "user_id": "reader"})
    assert name_of_table(["isbn", "title"], data) == "items"
    assert name_of_table(["reader", "about"], data) == "users"
    assert name_of_table(["isbn", "reader", "at"], data) == "interactions"
    with pytest.raises(DataError, match="neither `isbn` nor `reader`"):
        name_of_table(["item_id", "title"], data)


def test_interactions_without_times_are_refused_unless_they_are_said_to_have_no_order() -> None:
    tables = {
        "items": pl.DataFrame({"item_id": ["a", "b"], "title": ["A", "B"]}),
        "interactions": pl.DataFrame({"user_id": ["u", "v"], "item_id": ["a", "b"]}),
    }
    with pytest.raises(DataError, match="no column `timestamp`"):
        dataset_of_tables(tables, MEMORY)
    without_order = DataSection(source="memory", ordered=False)
    assert not dataset_of_tables(tables, without_order).has_order


def test_several_text_columns_must_be_named_as_their_order_is_lost() -> None:
    tables = {
        "items": pl.DataFrame({"item_id": ["a", "b"], "author": ["X", "Y"], "title": ["A", "B"]}),
        "interactions": pl.DataFrame(
            {"user_id": ["u", "v"], "item_id": ["a", "b"], "timestamp": ["1", "2"]}
        ),
    }
    with pytest.raises(DataError, match="Name those of text in data.columns.item_text"):
        dataset_of_tables(tables, MEMORY)
    named = DataSection(source="memory", columns={"item_text": ["title", "author"]})
    assert dataset_of_tables(tables, named).items["text"].to_list() == ["A. X", "B. Y"]


def test_a_missing_table_is_named() -> None:
    with pytest.raises(DataError, match="no examples of interactions"):
        dataset_of_tables({"items": pl.DataFrame({"item_id": ["a"]})}, MEMORY)
