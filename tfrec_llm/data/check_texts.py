"""The tables that hold text, items and users: unique ids, and one text for each."""

from __future__ import annotations

from collections.abc import Sequence

import polars as pl

from tfrec_llm.data.columns import clean_text, is_number, joined_text
from tfrec_llm.data.raw_table import RawTable
from tfrec_llm.errors import DataError


def check_texts(
    raw: RawTable,
    id_column: str,
    id_key: str,
    text_columns: Sequence[str] | None,
    text_key: str,
) -> tuple[pl.DataFrame, list[str]]:
    """Checks a table of items or users; rows without a sound or new id are set aside.

    Args:
        raw: the table; its rows that are not sound are set aside.
        id_column: the column of ids.
        id_key: the name of that column in the result, and of its setting.
        text_columns: the columns of text, in order; `None` takes those that hold more than
            numbers.
        text_key: the name of that setting, for messages.

    Returns: frame of the id, `title` (the first text) and `text` (all of them), and warnings.
    Raises: DataError when a column is missing, or no item has text.

    Example:
        >>> from tfrec_llm.data.file_formats import read_raw_table
        >>> frame = pl.DataFrame({"id": ["a"], "year": [1965], "name": ["Dune"]})
        >>> raw = read_raw_table(frame, "items")
        >>> frame, warnings = check_texts(raw, "id", "item_id", None, "item_text")
        >>> frame.row(0)
        ('a', 'Dune', 'Dune')
    """
    raw.require_column(id_column, id_key)
    for column in text_columns or []:
        raw.require_column(column, text_key)
    raw.set_aside_bad_ids(id_column)
    kind = raw.table.removesuffix("s")
    raw.set_aside(
        ~pl.col(id_column).is_first_distinct(),
        f"duplicate_{kind}",
        pl.format(f"{kind} '{{}}' stands in an earlier row, which is kept", id_column),
    )
    warnings = []
    if text_columns is None:
        text_columns = columns_of_text(raw, id_column)
        left_out = [name for name in raw.columns if name not in (id_column, *text_columns)]
        if left_out:
            warnings.append(
                f"{raw.file} ({raw.table}): {', '.join(left_out)} not taken as text, being empty "
                f"or numbers only; name such columns in data.columns.{text_key} to use them"
            )
    frame = raw.frame.select(
        pl.col(id_column).alias(id_key),
        (clean_text(text_columns[0]) if text_columns else pl.lit("")).alias("title"),
        joined_text(text_columns).alias("text"),
    )
    return frame, warnings + _judge(frame["text"], raw, text_columns, text_key)


def columns_of_text(raw: RawTable, id_column: str) -> list[str]:
    """Returns the columns that are taken as text where none are named.

    Args:
        raw: the table.
        id_column: the column of ids.

    Example:
        >>> from tfrec_llm.data.file_formats import read_raw_table
        >>> frame = pl.DataFrame({"id": ["a"], "year": [1965], "name": ["Dune"]})
        >>> columns_of_text(read_raw_table(frame, "items"), "id")
        ['name']
    """
    others = [name for name in raw.columns if name != id_column]
    return [name for name in others if not raw.frame.select(is_number(name).all()).item()]


def _judge(texts: pl.Series, raw: RawTable, columns: Sequence[str], key: str) -> list[str]:
    where = f"{raw.file} ({raw.table})"
    num_empty = int((texts == "").sum())
    if texts.is_empty():
        return []  # nothing but rejected rows: the share of these is the fault to report
    if num_empty == len(texts):
        looked = (
            f"columns looked at: {', '.join(columns)}"
            if columns
            else f"it has no text column among {', '.join(raw.columns)}"
        )
        fault = f"{where}: no row has any text; {looked}. Name others in data.columns.{key}"
        if raw.table == "items":
            raise DataError(fault)
        return [fault]
    if num_empty:  # users need not say anything about themselves
        if raw.table != "items":
            return []
        return [f"{where}: {num_empty} of {len(texts)} rows have no text"]
    if len(texts) > 1 and texts.n_unique() == 1:
        return [f"{where}: all {len(texts)} texts are equal, so text tells nothing apart"]
    return []
