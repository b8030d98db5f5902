"""Columns of strings → the text, times and numbers that they mean, as polars expressions."""

from __future__ import annotations

from collections.abc import Sequence

import polars as pl

_ISO = (
    r"^(\d{4}-\d{2}-\d{2})"
    r"(?:[Tt ](\d{2}):(\d{2})(?::(\d{2}(?:[.,]\d{1,9})?))?"
    r" ?(?:[Zz]|([+-])(\d{2}):?(\d{2})?)?)?$"
)
_FIRST_SECOND = -62135596800.0  # year 1
_LAST_SECOND = 253402300799.0  # year 9999; milliseconds of our days lie beyond


def clean_text(column: str) -> pl.Expr:
    """Returns the column with outer white space gone and each inner run as one space."""
    return pl.col(column).str.replace_all(r"[\s\x00]+", " ").str.strip_chars(" ")


def joined_text(columns: Sequence[str]) -> pl.Expr:
    """Returns the non-empty texts of a row joined with ". ", no final mark doubled.

    Args:
        columns: names of String columns without null.

    Example:
        >>> frame = pl.DataFrame({"a": ["Who?", "Dune"], "b": ["", "  Sand."], "c": ["x", "y"]})
        >>> frame.select(joined_text(["a", "b", "c"]).alias("text"))["text"].to_list()
        ['Who? x', 'Dune. Sand. y']
    """
    text = pl.lit("")
    for column in columns:
        part = clean_text(column)
        gap = pl.when(text.str.contains(r"[.!?。！？]$")).then(pl.lit(" ")).otherwise(pl.lit(". "))
        text = (
            pl.when(text == "").then(part).when(part == "").then(text).otherwise(text + gap + part)
        )
    return text


def finite_number(column: str) -> pl.Expr:
    """Returns the column as Float64, null where it is no finite number."""
    number = pl.col(column).str.strip_chars().cast(pl.Float64, strict=False)
    return pl.when(number.is_finite()).then(number)


def seconds_since_1970(column: str) -> pl.Expr:
    """Returns times as Float64 seconds since 1970, null where they cannot be read.

    Args:
        column: name of a String column that holds numbers of seconds, ISO dates, or ISO
            date-times. Where no zone is said, UTC is meant. Times outside the years 1 to 9999,
            such as milliseconds, cannot be read.

    Example:
        >>> times = ["90", "1970-01-02", "1970-01-01T01:00:30.5+01:00", "1970-02-30", "1.7e12"]
        >>> pl.DataFrame({"t": times}).select(seconds_since_1970("t"))["t"].to_list()
        [90.0, 86400.0, 30.5, None, None]
    """
    iso = pl.col(column).str.strip_chars().str.extract_groups(_ISO).struct

    def part(number: int) -> pl.Expr:
        return iso.field(str(number)).str.replace(",", ".").cast(pl.Float64).fill_null(0.0)

    days = iso.field("1").str.to_date("%Y-%m-%d", strict=False).cast(pl.Int32)
    hours, minutes, seconds = part(2), part(3), part(4)
    sign = pl.when(iso.field("5") == "-").then(-1.0).otherwise(1.0)
    offset = sign * (part(6) * 3600 + part(7) * 60)
    exists = (hours < 24) & (minutes < 60) & (seconds < 60) & (part(6) < 24) & (part(7) < 60)
    date = pl.when(exists).then(days * 86400.0 + hours * 3600 + minutes * 60 + seconds - offset)
    time = pl.coalesce(finite_number(column), date)
    return pl.when(time.is_between(_FIRST_SECOND, _LAST_SECOND)).then(time).alias(column)


def is_number(column: str) -> pl.Expr:
    """Returns whether a value is empty or a number, so that it is no text."""
    text = pl.col(column).str.strip_chars()
    return (text == "") | text.cast(pl.Float64, strict=False).is_not_null()
