"""A table while it is checked: the rows that still stand, and those set aside with a reason."""

from __future__ import annotations

import difflib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import polars as pl

from tfrec_llm.data.plain_strings import is_utf8
from tfrec_llm.data.schema import Quarantine
from tfrec_llm.errors import DataError
from tfrec_llm.files import atomic_file

QUARANTINE_COLUMNS = {
    "table": pl.String,
    "file": pl.String,
    "row": pl.Int64,
    "reason": pl.String,
    "detail": pl.String,
    "content": pl.String,
}
ROW = "\x00row"  # number of the source row; no file has a column of this name

_HINTS = {
    "missing_id": "Check that the columns of ids are the right ones (data.columns).",
    "bad_id": "Take the NUL characters out of the ids.",
    "unknown_item": "Both tables must write item ids alike; add the missing items to the items.",
    "bad_timestamp": "Write times as seconds since 1970 or as ISO dates such as "
    "2024-01-31T12:00:00, or name another column in data.columns.timestamp.",
    "bad_rating": "Write ratings as numbers, or name another column in data.columns.rating.",
    "bad_encoding": "Save the file as UTF-8.",
    "bad_row": "Check the separator and the quotation marks of the file.",
    "duplicate_item": "Give each item one row.",
    "duplicate_user": "Give each user one row.",
}
_TOLD = ("reason", "row", "detail")
_NOT_A_FAULT = "duplicate_pair"  # somebody took a thing twice: nothing is wrong with the table


@dataclass
class RawTable:
    """Rows as strings, "" where there is nothing, and the rows set aside so far.

    Attributes:
        table: "items", "interactions" or "users".
        file: where the rows come from, for messages.
        frame: String columns as in the file, and `ROW`, the source row (1 = first data row).
            Checks may add columns of their own, named with a leading NUL.
        set_aside_rows: frames of `QUARANTINE_COLUMNS`.
        num_rows: how many rows were read, whole or broken.

    Example:
        >>> frame = pl.DataFrame({"item_id": ["a", ""], ROW: [1, 2]})
        >>> raw = RawTable("items", "items.csv", frame, num_rows=2)
        >>> raw.set_aside(pl.col("item_id") == "", "missing_id", "`item_id` is empty")
        >>> raw.frame.height, raw.quarantine["reason"].to_list()
        (1, ['missing_id'])
    """

    table: str
    file: str
    frame: pl.DataFrame
    num_rows: int
    set_aside_rows: list[pl.DataFrame] = field(default_factory=list)

    @property
    def columns(self) -> list[str]:
        """Returns the names of the columns of the file."""
        return [name for name in self.frame.columns if not name.startswith("\x00")]

    @property
    def quarantine(self) -> pl.DataFrame:
        """Returns all rows set aside, in the order of the file."""
        empty = pl.DataFrame(schema=QUARANTINE_COLUMNS)
        return pl.concat([empty, *self.set_aside_rows]).sort("row", maintain_order=True)

    def set_aside(self, rows: pl.Expr, reason: str, detail: str | pl.Expr) -> None:
        """Moves the rows for which the expression holds into the quarantine.

        Args:
            rows: boolean expression over `frame`; null counts as false.
            reason: short code.
            detail: what was found, for a person; an expression or one text for all.
        """
        rejected = self.frame.filter(rows)
        if rejected.is_empty():
            return
        rejected = rejected.select(
            pl.lit(self.table).alias("table"),
            pl.lit(self.file).alias("file"),
            pl.col(ROW).cast(pl.Int64).alias("row"),
            pl.lit(reason).alias("reason"),
            (pl.lit(detail) if isinstance(detail, str) else detail).alias("detail"),
            pl.struct(self.columns).struct.json_encode().alias("content"),
        )
        self.set_aside_rows.append(rejected)
        self.frame = self.frame.filter(~rows.fill_null(False))

    def set_aside_bad_ids(self, column: str) -> None:
        """Moves rows whose id is empty, only white space, or holds NUL into the quarantine."""
        is_empty = pl.col(column).str.strip_chars() == ""
        self.set_aside(is_empty, "missing_id", f"`{column}` is empty")
        has_nul = pl.col(column).str.contains("\x00", literal=True)
        self.set_aside(has_nul, "bad_id", f"`{column}` holds a NUL character")

    def require_column(self, column: str, key: str) -> None:
        """Raises a DataError that names the nearest column when `column` is not there."""
        if column in self.columns:
            return
        nearest = nearest_name(column, self.columns)
        advice = f"the nearest is {nearest!r}: " if nearest else ""
        hint = f"data.columns.{key}" + (f": {nearest}" if nearest else "")
        separator = next((s for s in ";\t|" if any(s in name for name in self.columns)), None)
        if len(self.columns) == 1 and separator:
            advice = f"the file seems to be separated by {separator!r}, not as its name says; else "
        raise DataError(
            f"{self.file} ({self.table}) has no column {column!r}. It has: "
            f"{', '.join(self.columns)}; {advice}set {hint}"
        )

    def require_good_share(self, max_quarantined_share: float) -> None:
        """Raises a DataError when too many rows were rejected, or none is left.

        Repeated pairs of user and item do not count: repetition is no fault.
        """
        rejected = self.quarantine.filter(pl.col("reason") != _NOT_A_FAULT)
        first = rejected.unique("reason", keep="first", maintain_order=True)
        check_good_share(
            f"{self.file} ({self.table})",
            self.num_rows,
            dict(rejected["reason"].value_counts().iter_rows()),
            {reason: (row, detail) for reason, row, detail in first.select(*_TOLD).iter_rows()},
            max_quarantined_share,
        )


def check_good_share(
    where: str,
    num_rows: int,
    rejected: Mapping[str, int],
    first: Mapping[str, tuple[int, str]],
    max_quarantined_share: float,
) -> None:
    """Raises a DataError when too many rows were rejected, or none is left.

    Args:
        where: the file and its table, for the message.
        num_rows: rows read, whole or broken.
        rejected: reason → how many rows; repeated pairs do not count.
        first: reason → the number of the first such row, and what was found in it.
        max_quarantined_share: float in [0, 1].

    Example:
        >>> check_good_share("clicks.csv", 9, {"bad_rating": 1}, {"bad_rating": (3, "'x'")}, 0.5)
    """
    counts = {reason: count for reason, count in rejected.items() if reason != _NOT_A_FAULT}
    num_rejected = sum(counts.values())
    if num_rejected <= max_quarantined_share * num_rows:
        if num_rejected < num_rows:
            return
        limit = "so nothing is left"
    else:
        limit = f"more than data.max_quarantined_share = {max_quarantined_share:g} allows"
    most = sorted(counts, key=lambda reason: (-counts[reason], reason))
    reasons = ", ".join(f"{reason} {counts[reason]}" for reason in most[:3])
    row, detail = first[most[0]]
    raise DataError(
        f"{where}: {num_rejected} of {num_rows} rows cannot be used ({reasons}), {limit}. First: "
        f"row {row}, {detail}. " + _HINTS[most[0]]
    )


def rejected_rows(
    table: str, file: str, rows: Sequence[tuple[int, str, str, object]]
) -> pl.DataFrame:
    """Returns a frame of `QUARANTINE_COLUMNS` for rows that could not even be read.

    Args:
        table: name of the table.
        file: where the rows come from.
        rows: `(row, reason, detail, content)`; the content is anything that JSON can hold.
    """
    return pl.DataFrame(
        [(table, file, row, reason, detail, to_json(found)) for row, reason, detail, found in rows],
        schema=QUARANTINE_COLUMNS,
        orient="row",
    )


def to_json(value: object) -> str:
    r"""Returns JSON for any value; bytes that were no UTF-8 appear as `\udcXX` escapes.

    Example:
        >>> to_json({"title": "é"})
        '{"title": "é"}'
    """
    text = json.dumps(value, ensure_ascii=False, default=str)
    return text if is_utf8(text) else json.dumps(value, default=str)


def nearest_name(name: str, names: Sequence[str]) -> str | None:
    """Returns the name that is most like `name`, None where none is.

    Example:
        >>> nearest_name("item_id", ["title", "itemId"])
        'itemId'
    """

    def plain(text: str) -> str:
        return text.lower().replace("_", "").replace(" ", "").replace("-", "")

    by_plain = {plain(other): other for other in reversed(names)}
    found = difflib.get_close_matches(plain(name), list(by_plain), n=1, cutoff=0.5)
    return by_plain[found[0]] if found else None


def write_quarantine(quarantine: Quarantine, folder: str | Path) -> list[Path]:
    """Writes one JSONL file for each table that has rejected rows, each file whole or not at all.

    Args:
        quarantine: what `read_tables` set aside.
        folder: where `items.jsonl`, `interactions.jsonl`, `users.jsonl` shall stand. A file
            left there by an earlier call is replaced, or removed where nothing was rejected.

    Returns: the paths written.

    Example:
        >>> write_quarantine(Quarantine(pl.DataFrame(schema=QUARANTINE_COLUMNS)), "/nowhere")
        []
    """
    written = []
    for table in ("items", "interactions", "users"):
        path = Path(folder) / f"{table}.jsonl"
        rows = quarantine.rows.filter(pl.col("table") == table)
        if rows.is_empty():
            path.unlink(missing_ok=True)
            continue
        with atomic_file(path) as temporary, open(temporary, "w", encoding="utf-8") as file:
            file.writelines(quarantine_lines(rows))
        written.append(path)
    return written


def quarantine_lines(rows: pl.DataFrame) -> Iterator[str]:
    """Yields a line of JSON for each row set aside, without the name of its table.

    Args:
        rows: frame of `QUARANTINE_COLUMNS`.
    """
    for row in rows.drop("table").iter_rows(named=True):
        content = row.pop("content")
        yield f'{to_json(row)[:-1]}, "content": {content}}}\n'
