"""The table of interactions: known items, readable times, one row a pair, in order of time."""

from __future__ import annotations

import polars as pl

from tfrec_llm.data.columns import finite_number, seconds_since_1970
from tfrec_llm.data.raw_table import RawTable
from tfrec_llm.data.schema import INTERACTION_COLUMNS

TIME, RATING = "\x00time", "\x00rating"  # the columns that `check_rows` adds
_ORDER = "\x00order"


def check_interactions(
    raw: RawTable,
    item_ids: pl.Series,
    *,
    user_id: str,
    item_id: str,
    timestamp: str | None,
    rating: str | None,
    min_rating: float | None,
) -> tuple[pl.DataFrame, int]:
    """Checks interactions and brings each user's into order.

    Args:
        raw: the table; its rows that are not sound are set aside.
        item_ids: ids of the known items.
        user_id: the column of user ids.
        item_id: the column of item ids.
        timestamp: the column of times; `None` takes `timestamp` if it is there.
        rating: the column of ratings; `None` takes `rating` if it is there.
        min_rating: rows with a lower rating are left out, before pairs are compared.

    Returns: frame of `INTERACTION_COLUMNS`, and how many rows were left out for their rating.
    Raises: DataError when a column is missing.

    Example:
        >>> from tfrec_llm.data.file_formats import read_raw_table
        >>> frame = pl.DataFrame({"u": ["x", "x"], "i": ["a", "b"], "timestamp": [9, 5]})
        >>> pairs, _ = check_interactions(
        ...     read_raw_table(frame, "interactions"), pl.Series(["a", "b"]), user_id="u",
        ...     item_id="i", timestamp=None, rating=None, min_rating=None)
        >>> pairs.select("item_id", "position").rows()
        [('b', 0), ('a', 1)]
    """
    num_below_min_rating = check_rows(
        raw,
        item_ids,
        user_id=user_id,
        item_id=item_id,
        timestamp=timestamp,
        rating=rating,
        min_rating=min_rating,
    )
    order = pl.int_range(pl.len()).alias(_ORDER)
    raw.frame = raw.frame.with_columns(order).sort(TIME, _ORDER)
    raw.set_aside(
        ~pl.struct(user_id, item_id).is_first_distinct(),
        "duplicate_pair",
        pl.format("user '{}' took item '{}' before; the first time is kept", user_id, item_id),
    )
    first_row = pl.col(_ORDER).min().over(user_id)
    pairs = raw.frame.sort(first_row, TIME, _ORDER).select(
        pl.col(user_id).alias("user_id"),
        pl.col(item_id).alias("item_id"),
        pl.int_range(pl.len()).over(user_id).alias("position"),
        pl.col(TIME).alias("timestamp"),
        pl.col(RATING).alias("rating"),
    )
    return pairs.cast(INTERACTION_COLUMNS), num_below_min_rating  # type: ignore[arg-type]


def check_rows(
    raw: RawTable,
    item_ids: pl.Series,
    *,
    user_id: str,
    item_id: str,
    timestamp: str | None,
    rating: str | None,
    min_rating: float | None,
) -> int:
    """Checks each row of interactions for itself, which can be done part of a table by part.

    Args:
        raw: the table, or a part of it. Rows that are not sound are set aside; the others get
            the columns `TIME` (seconds since 1970) and `RATING`, Float64, null where there is none.
        item_ids: ids of the known items.
        user_id: the column of user ids.
        item_id: the column of item ids.
        timestamp: the column of times; `None` takes `timestamp` if it is there.
        rating: the column of ratings; `None` takes `rating` if it is there.
        min_rating: rows with a lower rating are left out.

    Returns: how many rows were left out for their rating.
    Raises: DataError when a column is missing.

    Example:
        >>> from tfrec_llm.data.file_formats import read_raw_table
        >>> frame = pl.DataFrame({"u": ["x", "x"], "i": ["a", "?"], "timestamp": [9, 5]})
        >>> raw = read_raw_table(frame, "interactions")
        >>> names = {"user_id": "u", "item_id": "i", "timestamp": None, "rating": None}
        >>> check_rows(raw, pl.Series(["a"]), min_rating=None, **names), raw.frame["i"].to_list()
        (0, ['a'])
    """
    if timestamp is None and "timestamp" in raw.columns:
        timestamp = "timestamp"
    if rating is None and ("rating" in raw.columns or min_rating is not None):
        rating = "rating"
    keys = {"user_id": user_id, "item_id": item_id, "timestamp": timestamp, "rating": rating}
    for key, column in keys.items():
        if column is not None:
            raw.require_column(column, key)

    raw.set_aside_bad_ids(user_id)
    raw.set_aside_bad_ids(item_id)
    raw.set_aside(
        ~pl.col(item_id).is_in(item_ids.implode()),
        "unknown_item",
        pl.format("item '{}' is not in the table of items", item_id),
    )
    _parse_times(raw, timestamp)
    _parse_ratings(raw, rating, min_rating is not None)
    num_sound = raw.frame.height
    if min_rating is not None:
        raw.frame = raw.frame.filter(pl.col(RATING) >= min_rating)
    return num_sound - raw.frame.height


def _parse_times(raw: RawTable, column: str | None) -> None:
    if column is None:
        raw.frame = raw.frame.with_columns(pl.lit(None, pl.Float64).alias(TIME))
        return
    raw.frame = raw.frame.with_columns(seconds_since_1970(column).alias(TIME))
    raw.set_aside(
        pl.col(TIME).is_null(),
        "bad_timestamp",
        pl.format("'{}' is no number of seconds since 1970 and no ISO date", column),
    )


def _parse_ratings(raw: RawTable, column: str | None, is_needed: bool) -> None:
    if column is None:
        raw.frame = raw.frame.with_columns(pl.lit(None, pl.Float64).alias(RATING))
        return
    raw.frame = raw.frame.with_columns(finite_number(column).alias(RATING))
    is_empty = pl.col(column).str.strip_chars() == ""
    is_bad = pl.col(RATING).is_null() & (pl.lit(is_needed) | ~is_empty)
    raw.set_aside(is_bad, "bad_rating", pl.format("'{}' is no finite number", column))
