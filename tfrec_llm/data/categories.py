"""`FILE:COLUMN` → the category of each item."""

from __future__ import annotations

import polars as pl

from tfrec_llm.data.file_formats import read_raw_table
from tfrec_llm.data.raw_table import nearest_name
from tfrec_llm.errors import DataError, UsageError


def read_categories(source: str) -> dict[str, str]:
    r"""Reads the category of each item from a column of a table of items.

    A cell is one category, whatever it holds: `Comedy|Drama` is another one than `Comedy`.
    Items without a category are left out; of an id that comes twice the first row counts.

    Args:
        source: `FILE:COLUMN`, or `FILE:COLUMN:ID_COLUMN` where the ids of items are not in a
            column `item_id`. Files as for `read_tables`.

    Returns: item id → category.

    Raises:
        UsageError: when the text has another form.
        DataError: when the file cannot be read, or has no such column.

    Example:
        >>> import pathlib, tempfile
        >>> path = pathlib.Path(tempfile.mkdtemp()) / "items.csv"
        >>> _ = path.write_text("item_id,genre\ndune,space\nemma,\n")
        >>> read_categories(f"{path}:genre")
        {'dune': 'space'}
    """
    parts = source.split(":")
    if len(parts) not in (2, 3) or not all(parts):
        raise UsageError(
            f"{source!r} does not say where the categories are. Write FILE:COLUMN, such as "
            "items.csv:genre, or FILE:COLUMN:ID_COLUMN; the file's name must hold no colon."
        )
    file, column = parts[:2]
    id_column = parts[2] if len(parts) == 3 else "item_id"
    table = read_raw_table(file, "items")
    for name in (column, id_column):
        if name not in table.columns:
            nearest = nearest_name(name, table.columns)
            raise DataError(
                f"{file} has no column {name!r}. It has: {', '.join(table.columns)}."
                + (f" The nearest is {nearest!r}." if nearest else "")
                + " Write the categories as FILE:COLUMN or FILE:COLUMN:ID_COLUMN."
            )
    pairs = table.frame.select(
        pl.col(id_column).alias("id"), pl.col(column).str.strip_chars().alias("category")
    )
    pairs = pairs.filter(pl.col("category") != "").unique("id", keep="first", maintain_order=True)
    return dict(pairs.iter_rows())
