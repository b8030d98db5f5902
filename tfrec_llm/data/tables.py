"""Files or frames → checked tables; rows that cannot be used are set aside and counted."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import polars as pl

from tfrec_llm.data.check_interactions import check_interactions
from tfrec_llm.data.check_texts import check_texts, columns_of_text
from tfrec_llm.data.file_formats import read_raw_table
from tfrec_llm.data.raw_table import RawTable
from tfrec_llm.data.schema import USER_COLUMNS, Dataset, Quarantine
from tfrec_llm.errors import DataError

Source = str | Path | pl.DataFrame | RawTable


def read_tables(
    items: Source,
    interactions: Source,
    users: Source | None = None,
    *,
    item_id: str = "item_id",
    item_text: Sequence[str] | None = None,
    user_id: str = "user_id",
    user_text: Sequence[str] | None = None,
    timestamp: str | None = None,
    rating: str | None = None,
    min_rating: float | None = None,
    ordered: bool = True,
    max_quarantined_share: float = 0.5,
    name: str = "tables",
) -> Dataset:
    """Reads and checks the tables of a recommender.

    Files end in `.csv`, `.tsv`, `.jsonl` (or these and `.gz`) or `.parquet`. Ids are strings,
    taken as they stand, inner and outer spaces and leading zeros included. A row that cannot be
    used is set aside with its reason (`Dataset.quarantine`): `missing_id`, `bad_id` (holds NUL),
    `unknown_item`, `bad_timestamp`, `bad_rating`, `bad_encoding`, `bad_row`, `duplicate_item`,
    `duplicate_user`, `duplicate_pair` (the first by time is kept). Rows under `min_rating` are
    sound but no positives: they are left out and counted in `Dataset.num_below_min_rating`.

    Args:
        items: one row an item, with its id and one or more text columns.
        interactions: one row for each time that a user took an item.
        users: free text about users, if there is any.
        item_id: the column of item ids, in `items` and in `interactions`.
        item_text: text columns in order, the first one being the title. `None` takes every
            other column that holds more than numbers.
        user_id: the column of user ids, in `interactions` and in `users`.
        user_text: text columns of `users`, as `item_text`.
        timestamp: column of seconds since 1970, ISO dates or ISO date-times (UTC where no zone
            is said). `None` takes `timestamp` if it is there, else the rows are in order.
        rating: column of numbers. `None` takes `rating` if it is there.
        min_rating: float, leaves out interactions with a lower rating.
        ordered: False says that rows without timestamps stand in no order.
        max_quarantined_share: float in [0, 1], more rejected rows than this share of a table
            is an error. `duplicate_pair` does not count.
        name: what the data calls itself in reports.

    Returns: the checked tables.
    Raises: DataError when a file or column is missing, or too little is usable.

    Example:
        >>> items = pl.DataFrame({"item_id": ["a", "b"], "title": ["Dune", "Emma"]})
        >>> clicks = pl.DataFrame({"user_id": list("uuvv"), "item_id": list("ba?a")})
        >>> data = read_tables(items, clicks)
        >>> data.interactions["item_id"].to_list(), data.quarantine.counts
        (['b', 'a', 'a'], {'interactions: unknown_item': 1})
    """
    tables = [_raw(items, "items"), _raw(interactions, "interactions")]
    item_rows, warnings = _checked_items(tables[0], item_id, item_text, max_quarantined_share)
    if item_rows.height < 2:
        raise DataError(f"{tables[0].file} holds only one item; at least two are needed")

    tables[1].require_good_share(max_quarantined_share)
    pairs, num_below_min_rating = check_interactions(
        tables[1],
        item_rows["item_id"],
        user_id=user_id,
        item_id=item_id,
        timestamp=timestamp,
        rating=rating,
        min_rating=min_rating,
    )
    tables[1].require_good_share(max_quarantined_share)
    _require_two_users(pairs, tables[1].file, num_below_min_rating, min_rating)

    user_rows = pl.DataFrame(schema=USER_COLUMNS)
    if users is not None:
        tables.append(_raw(users, "users"))
        user_rows, more_warnings = _checked_users(
            tables[2], user_id, user_text, max_quarantined_share
        )
        warnings += more_warnings

    return Dataset(
        name=name,
        items=item_rows,
        interactions=pairs,
        users=user_rows,
        has_order=ordered or bool(pairs["timestamp"].is_not_null().all()),
        sha256=_contents_sha256([item_rows, pairs, user_rows]),
        quarantine=Quarantine(pl.concat([raw.quarantine for raw in tables])),
        warnings=tuple(warnings),
        num_below_min_rating=num_below_min_rating,
        item_id_column=item_id,
        item_text_columns=tuple(
            columns_of_text(tables[0], item_id) if item_text is None else item_text
        ),
    )


def read_items(
    items: Source,
    *,
    item_id: str = "item_id",
    item_text: Sequence[str] | None = None,
    max_quarantined_share: float = 0.5,
) -> tuple[pl.DataFrame, Quarantine, tuple[str, ...]]:
    """Reads and checks a table of items alone, as `read_tables` does.

    Args:
        items: one row an item, with its id and one or more text columns.
        item_id: the column of item ids.
        item_text: text columns in order, the first one being the title; `None` takes every
            other column that holds more than numbers.
        max_quarantined_share: float in [0, 1], the share of rejected rows that is an error.

    Returns: frame of `ITEM_COLUMNS`, the rows set aside, and warnings.
    Raises: DataError when the file or a column is missing, or too little is usable.

    Example:
        >>> frame, quarantine, _ = read_items(pl.DataFrame({"item_id": ["a"], "title": ["Dune"]}))
        >>> frame.rows(), quarantine.counts
        ([('a', 'Dune', 'Dune')], {})
    """
    raw = _raw(items, "items")
    rows, warnings = _checked_items(raw, item_id, item_text, max_quarantined_share)
    return rows, Quarantine(raw.quarantine), tuple(warnings)


def read_users(
    users: Source,
    *,
    user_id: str = "user_id",
    user_text: Sequence[str] | None = None,
    max_quarantined_share: float = 0.5,
) -> tuple[pl.DataFrame, Quarantine, tuple[str, ...]]:
    """Reads and checks a table of users alone, as `read_tables` does.

    Args:
        users: one row a user, with their id and one or more text columns.
        user_id: the column of user ids.
        user_text: text columns in order; `None` takes every other column that holds more than
            numbers.
        max_quarantined_share: float in [0, 1], the share of rejected rows that is an error.

    Returns: frame of `USER_COLUMNS`, the rows set aside, and warnings.
    Raises: DataError when the file or a column is missing, or too little is usable.

    Example:
        >>> frame, _, _ = read_users(pl.DataFrame({"user_id": ["u"], "about": ["likes sand"]}))
        >>> frame.rows()
        [('u', 'likes sand')]
    """
    raw = _raw(users, "users")
    rows, warnings = _checked_users(raw, user_id, user_text, max_quarantined_share)
    return rows, Quarantine(raw.quarantine), tuple(warnings)


def _checked_users(
    raw: RawTable, user_id: str, user_text: Sequence[str] | None, max_quarantined_share: float
) -> tuple[pl.DataFrame, list[str]]:
    raw.require_good_share(max_quarantined_share)
    found, warnings = check_texts(raw, user_id, "user_id", user_text, "user_text")
    raw.require_good_share(max_quarantined_share)
    return found.select(list(USER_COLUMNS)), warnings


def _checked_items(
    raw: RawTable, item_id: str, item_text: Sequence[str] | None, max_quarantined_share: float
) -> tuple[pl.DataFrame, list[str]]:
    raw.require_good_share(max_quarantined_share)
    rows, warnings = check_texts(raw, item_id, "item_id", item_text, "item_text")
    raw.require_good_share(max_quarantined_share)
    return rows, warnings


def _raw(source: Source, table: str) -> RawTable:
    return source if isinstance(source, RawTable) else read_raw_table(source, table)


def _require_two_users(
    pairs: pl.DataFrame, file: str, num_below_min_rating: int, min_rating: float | None
) -> None:
    users = pairs["user_id"].unique()
    if len(users) >= 2:
        return
    left = "no interaction" if users.is_empty() else f"only the user {users[0]!r}"
    if num_below_min_rating:
        left += f", after {num_below_min_rating} rows under data.min_rating = {min_rating} went"
    raise DataError(f"{file} (interactions) leaves {left}; training needs at least two users")


def _contents_sha256(tables: Sequence[pl.DataFrame]) -> str:
    """Hashes values, not files: the same tables in another format have the same digest."""
    digest = hashlib.sha256()
    for table in tables:
        for column in table.iter_columns():
            digest.update(f"{column.name} {len(column)}\n".encode())
            if column.dtype == pl.String:
                digest.update(column.str.len_bytes().to_numpy().astype("<i8").tobytes())
                digest.update("".join(column.to_list()).encode())
            else:
                numbers = column.cast(pl.Float64).fill_null(np.nan).to_numpy() + 0.0
                digest.update(numbers.astype("<f8").tobytes())
    return digest.hexdigest()
