"""Values of any type → the plain string that a person would write into a CSV file."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence

import polars as pl

_MAX_WHOLE = 1e15  # beyond it a float no longer tells neighbouring whole numbers apart


def plain_strings(frame: pl.DataFrame) -> tuple[pl.DataFrame, pl.Series]:
    """Returns the frame with String columns, "" for null, and which rows are not UTF-8.

    Args:
        frame: columns of any type.

    Returns: `(strings, broken)`, `broken` a boolean series.

    Example:
        >>> frame = pl.DataFrame({"a": [12.0, 0.5, None], "b": [["x", "y"], [], None]})
        >>> plain_strings(frame)[0].to_dict(as_series=False)
        {'a': ['12', '0.5', ''], 'b': ['x, y', '', '']}
    """
    broken = pl.repeat(False, frame.height, eager=True)
    columns = []
    for column in frame.iter_columns():
        if column.dtype == pl.Binary:
            whole = [v is None or is_utf8(v.decode("utf-8", "surrogateescape")) for v in column]
            broken = broken | ~pl.Series(whole, dtype=pl.Boolean)
        columns.append(_strings(column).fill_null(""))
    return pl.DataFrame(columns), broken


def _strings(column: pl.Series) -> pl.Series:
    dtype, name = column.dtype, column.name
    if dtype == pl.String:
        return column
    if dtype.is_float():
        value = pl.col(name)
        is_whole = (value == value.round(0)) & (value.abs() < _MAX_WHOLE)
        whole = value.cast(pl.Int64, strict=False).cast(pl.String)
        text = pl.when(is_whole).then(whole).otherwise(value.cast(pl.String))
        return column.to_frame().select(text.alias(name)).to_series()
    if isinstance(dtype, pl.Datetime):
        if dtype.time_zone is not None:
            column = column.dt.convert_time_zone("UTC")
        return column.dt.to_string("%Y-%m-%dT%H:%M:%S%.6f")
    if dtype.is_decimal():
        return column.cast(pl.String).str.replace(r"\.0+$", "")
    if dtype == pl.Binary:
        texts = [None if v is None else v.decode("utf-8", "backslashreplace") for v in column]
        return pl.Series(name, texts, dtype=pl.String)
    if dtype.is_nested() or dtype == pl.Object:
        return pl.Series(name, [plain_text(v) for v in column.to_list()], dtype=pl.String)
    return column.cast(pl.String)


def plain_text(value: object) -> str:
    """Returns one value as a plain string: 12 for 12.0, "a, b" for a list, JSON for a record.

    Example:
        >>> [plain_text(v) for v in (None, True, 12.0, ["a", 1.5], {"a": 1})]
        ['', 'true', '12', 'a, 1.5', '{"a": 1}']
    """
    if value is None:
        return ""
    if isinstance(value, str):
        return value
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float):
        return plain_float(repr(value))
    if isinstance(value, Sequence):
        return ", ".join(plain_text(part) for part in value)
    if isinstance(value, Mapping):
        return json.dumps(value, ensure_ascii=False, default=str)
    return str(value)


def plain_float(literal: str) -> str:
    """Returns a number without a needless fraction or exponent.

    Example:
        >>> [plain_float(x) for x in ("12.0", "1e5", "0.10", "1e30")]
        ['12', '100000', '0.1', '1e+30']
    """
    value = float(literal)
    return str(int(value)) if value.is_integer() and abs(value) < _MAX_WHOLE else repr(value)


def is_utf8(text: str) -> bool:
    """Returns whether the text can be written as UTF-8: it holds no lone surrogate."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True
