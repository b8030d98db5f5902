"""Records of tf.Example, as TFX hands them on → the tables that the package trains on."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import polars as pl

from tfrec_llm.config.run_config import DataSection
from tfrec_llm.data.schema import Dataset
from tfrec_llm.data.tables import read_tables
from tfrec_llm.errors import DataError
from tfrec_llm.workflows.build import reading_options

TABLES = ("items", "interactions", "users")


def table_from_batches(batches: Iterable[Mapping[str, Sequence[Any]]], name: str) -> pl.DataFrame:
    """Returns a table of the values of tf.Examples, as strings.

    Rows are sorted by all their columns: Beam writes records in any order, and the same records
    must give the same table, so that what is held out of it is the same wherever it is read.

    Args:
        batches: of records: feature → a cell for each record, a list of values or None.
        name: what the table is called in messages.

    Returns: frame of String columns, "" where an example had no value.

    Raises: DataError when there are no rows, or a feature has several values in one example.

    Example:
        >>> batch = {"item_id": [[b"b"], [b"a"]], "year": [[2], None]}
        >>> table_from_batches([batch], "items").rows()
        [('a', ''), ('b', '2')]
    """
    rows: dict[str, list[str]] = {}
    num_rows = 0
    for batch in batches:
        size = len(next(iter(batch.values()), ()))
        for column in {*rows, *batch}:
            known = rows.setdefault(column, [""] * num_rows)  # absent from the batches before
            known += [_text(cell, name, column) for cell in batch.get(column, [None] * size)]
        num_rows += size
    if not num_rows:
        raise DataError(f"The examples of the table `{name}` hold no rows.")
    frame = pl.DataFrame({column: pl.Series(rows[column], dtype=pl.String) for column in rows})
    return frame.select(sorted(frame.columns)).sort(pl.all())


def _text(cell: Any, name: str, column: str) -> str:
    if not cell:
        return ""
    if len(cell) > 1:
        raise DataError(
            f"The feature `{column}` of the table `{name}` has {len(cell)} values in one example; "
            "each must have one. Check the schema that Transform was given."
        )
    value = cell[0]
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)


def name_of_table(columns: Sequence[str], data: DataSection) -> str:
    """Says which table has these columns: users and items have the one id, interactions both.

    Args:
        columns: names of features.
        data: says what the columns of ids are called.

    Raises: DataError when there is none of the ids.

    Example:
        >>> name_of_table(["user_id", "item_id"], DataSection(source="memory"))
        'interactions'
    """
    has_item, has_user = data.columns.item_id in columns, data.columns.user_id in columns
    if has_item and has_user:
        return "interactions"
    if not has_item and not has_user:
        raise DataError(
            f"Examples with the features {', '.join(columns)} belong to no table: there is neither "
            f"`{data.columns.item_id}` nor `{data.columns.user_id}`. Name the columns of ids in "
            "data.columns of the configuration."
        )
    return "items" if has_item else "users"


def dataset_of_tables(tables: Mapping[str, pl.DataFrame], data: DataSection) -> Dataset:
    """Checks the tables as `read_tables` does, by the column names of a configuration.

    Args:
        tables: `items`, `interactions`, and `users` if there are any.
        data: columns, `min_rating` and the like; `source` and paths are not looked at.

    Returns: the checked tables; each user's interactions are in the order of their times.

    Raises: DataError when a table is missing or cannot be used, or what a pipeline loses is not
        told: the order of rows (the interactions have no times), or the order of text columns.

    Example:
        >>> items = pl.DataFrame({"item_id": ["a", "b"], "title": ["Dune", "Emma"]})
        >>> clicks = pl.DataFrame({"user_id": list("uuv"), "item_id": list("aba"),
        ...                        "timestamp": ["9", "5", "1"]})
        >>> data = dataset_of_tables({"items": items, "interactions": clicks},
        ...                          DataSection(source="memory"))
        >>> data.interactions["item_id"].to_list()
        ['b', 'a', 'a']
    """
    missing = [name for name in TABLES[:2] if name not in tables]
    if missing:
        raise DataError(
            f"There are no examples of {' and '.join(missing)}: the pipeline must hand on both "
            "items and interactions."
        )
    columns = data.columns
    time = columns.timestamp or "timestamp"
    if data.ordered and time not in tables["interactions"].columns:
        raise DataError(
            f"The interactions have no column `{time}`. A pipeline does not keep the order of "
            "rows, so without times nobody knows what came first: name the column in "
            "data.columns.timestamp, or set data.ordered: false and split.protocol: random."
        )
    for table, id_column, key in (
        ("items", columns.item_id, "item_text"),
        ("users", columns.user_id, "user_text"),
    ):
        others = [c for c in tables[table].columns if c != id_column] if table in tables else []
        if getattr(columns, key) is None and len(others) > 1:
            raise DataError(
                f"The {table} have the columns {', '.join(others)}, and a pipeline does not keep "
                f"their order. Name those of text in data.columns.{key}, the title first."
            )
    return read_tables(
        tables["items"],
        tables["interactions"],
        tables.get("users"),
        **reading_options(data),
        name="pipeline",
    )
