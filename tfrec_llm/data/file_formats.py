"""CSV, TSV, JSONL (each plain or gzip) and Parquet → rows of strings; broken rows set aside."""

from __future__ import annotations

import contextlib
import csv
import gzip
import io
import itertools
import json
import sys
import zlib
from collections import deque
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import IO, Any

import polars as pl

from tfrec_llm.data.plain_strings import is_utf8, plain_float, plain_strings, plain_text
from tfrec_llm.data.raw_table import ROW, RawTable, nearest_name, rejected_rows
from tfrec_llm.errors import DataError

_CHUNK_ROWS = 50_000
ENDINGS = (".csv", ".csv.gz", ".tsv", ".tsv.gz", ".jsonl", ".jsonl.gz", ".parquet")
LIST_END = "\x1f"  # the unit separator, which no id holds
_BROKEN = "\x00broken"
_Problem = tuple[int, str, str, object]  # row, reason, detail, content


def read_raw_table(
    source: str | Path | pl.DataFrame, table: str, *, header: Sequence[str] | None = None
) -> RawTable:
    r"""Reads one table as strings, so that ids such as `007` and `1e5` stay what they are.

    Numbers of Parquet and JSONL get their plain form (12, not 12.0), lists are joined with ", ",
    date-times become ISO text in UTC. Blank lines are no rows.

    Args:
        source: a file named `.csv`, `.tsv`, `.jsonl` (or these with `.gz`) or `.parquet`, or a
            frame.
        table: "items", "interactions" or "users".
        header: names of the columns of a CSV or TSV file that has no header row.

    Returns: the rows; those that are not UTF-8 or have the wrong number of fields set aside.
    Raises: DataError when the file is missing, unreadable, empty or of an unknown form.

    Example:
        >>> import pathlib, tempfile
        >>> path = pathlib.Path(tempfile.mkdtemp()) / "items.csv"
        >>> _ = path.write_text("item_id,title\n007,Goldfinger\n8\n")
        >>> raw = read_raw_table(path, "items")
        >>> raw.frame["item_id"].to_list(), raw.quarantine["reason"].to_list()
        (['007'], ['bad_row'])
    """
    if isinstance(source, pl.DataFrame):
        raw = _from_frame(source, table, "<frame>")
    else:
        raw = _from_file(_existing(Path(source).expanduser(), table), table, header)
    if raw.num_rows == 0:
        raise DataError(f"{raw.file} ({table}) has no rows")
    return raw


def _existing(path: Path, table: str) -> Path:
    if not path.name.lower().endswith(ENDINGS):
        raise DataError(
            f"{path} (data.{table}): the name must end in one of {', '.join(ENDINGS)}; "
            "it tells the form of the file"
        )
    if path.is_file():
        return path
    if path.is_dir():
        raise DataError(f"{path} (data.{table}) is a folder, not a file")
    beside = [p.name for p in path.parent.iterdir()] if path.parent.is_dir() else []
    nearest = nearest_name(path.name, beside)
    raise DataError(
        f"{path} (data.{table}) does not exist"
        + (f"; did you mean {nearest}?" if nearest else ". Check the path")
    )


def read_raw_batches(
    source: str | Path, table: str, batch_rows: int, *, list_columns: Sequence[str] = ()
) -> Iterator[RawTable]:
    r"""Reads one file part by part, each as `read_raw_table` reads the whole of it.

    Rows bear their number in the file. A column that the first part of a JSONL file has and a
    later one lacks is there and empty.

    Args:
        source: a file, as for `read_raw_table`.
        table: "items", "interactions" or "users".
        batch_rows: int >= 1, rows in a part, so many at most.
        list_columns: columns of a Parquet file in which each value of a list is followed by
            `LIST_END`, so that they can be told apart again.

    Yields: the parts, none of them empty.
    Raises: DataError when the file is missing, unreadable or of an unknown form.

    Example:
        >>> import pathlib, tempfile
        >>> path = pathlib.Path(tempfile.mkdtemp()) / "items.csv"
        >>> _ = path.write_text("item_id\na\nb\nc\n")
        >>> [part.frame["item_id"].to_list() for part in read_raw_batches(path, "items", 2)]
        [['a', 'b'], ['c']]
    """
    path = _existing(Path(source).expanduser(), table)
    with _told_as_data_error(path, table):
        if path.name.lower().endswith(".parquet"):
            rows = pl.scan_parquet(path)
            num_rows = rows.select(pl.len()).collect().item()
            for begin in range(0, num_rows, batch_rows):
                part = rows.slice(begin, batch_rows).collect()
                lists = [name for name in list_columns if part.schema.get(name) == pl.List]
                ended = pl.element().cast(pl.String) + LIST_END
                part = part.with_columns(pl.col(lists).list.eval(ended).list.join(""))
                yield _from_frame(part, table, str(path), first_row=begin + 1)
            return
        with _open_records(path, table, None) as (records, names):
            columns: list[str] = []
            begin = 1
            while part_of_records := list(itertools.islice(records, batch_rows)):
                raw = _from_records(iter(part_of_records), path, table, names, first_row=begin)
                columns = columns or raw.columns
                missing = [pl.lit("").alias(name) for name in columns if name not in raw.columns]
                raw.frame = raw.frame.with_columns(missing)
                begin += len(part_of_records)
                yield raw


def _from_file(path: Path, table: str, header: Sequence[str] | None) -> RawTable:
    with _told_as_data_error(path, table):
        if path.name.lower().endswith(".parquet"):
            return _from_frame(pl.read_parquet(path), table, str(path))
        with _open_records(path, table, header) as (records, names):
            return _from_records(records, path, table, names)


@contextlib.contextmanager
def _told_as_data_error(path: Path, table: str) -> Iterator[None]:
    try:
        yield
    except (OSError, EOFError, zlib.error, pl.exceptions.PolarsError) as error:
        raise DataError(
            f"{path} (data.{table}) cannot be read: {error}. "
            "Check that the file is whole and is what its name says"
        ) from error


@contextlib.contextmanager
def _open_records(
    path: Path, table: str, header: Sequence[str] | None
) -> Iterator[tuple[Iterator[Any], list[str] | None]]:
    """Yields the records of a file of text, and the names of its columns if records lack them."""
    name = path.name.lower().removesuffix(".gz")
    with _open_text(path) as lines:
        if name.endswith(".jsonl"):
            yield _json_records(lines), None
            return
        records = _separated_records(lines, "\t" if name.endswith(".tsv") else ",")
        names = list(header) if header is not None else _read_header(records, path, table)
        yield _of_width(records, len(names)), names


@contextlib.contextmanager
def _open_text(path: Path) -> Iterator[Iterator[str]]:
    """Yields lines with their ends; bytes that are no UTF-8 become lone surrogates."""
    limit = csv.field_size_limit(sys.maxsize)  # texts may be long
    try:
        with contextlib.ExitStack() as stack:
            binary: Any = gzip.open(path) if path.suffix.lower() == ".gz" else open(path, "rb")
            stack.enter_context(binary)
            if binary.peek(2)[:2] in (b"\xff\xfe", b"\xfe\xff"):
                raise DataError(f"{path} is UTF-16. Save the file as UTF-8")
            text: IO[str] = io.TextIOWrapper(
                binary, encoding="utf-8-sig", errors="surrogateescape", newline=""
            )
            yield iter(text)
    finally:
        csv.field_size_limit(limit)


# Records: an iterator of a row, or of (detail, content) for one that cannot be read.


def _separated_records(
    lines: Iterator[str], separator: str
) -> Iterator[list[str] | tuple[str, object]]:
    """Yields the records of a CSV file.

    A quotation mark that is never closed would swallow the rest of the file. So where the
    quoting fails, only the first line of the record is given up and the rest is read again.
    """
    waiting: deque[str] = deque()
    consumed: list[str] = []

    def feed() -> Iterator[str]:
        while True:
            line = waiting.popleft() if waiting else next(lines, None)
            if line is None:
                return
            consumed.append(line)
            yield line

    while True:
        try:
            for record in csv.reader(feed(), delimiter=separator, strict=True):
                consumed.clear()
                if record:
                    yield record
            return
        except csv.Error as error:
            waiting.extendleft(reversed(consumed[1:]))
            line = consumed[0].rstrip("\r\n")
            consumed.clear()
            yield f"the quotation marks do not fit ({error})", line


def _of_width(
    records: Iterator[list[str] | tuple[str, object]], width: int
) -> Iterator[list[str] | tuple[str, object]]:
    for record in records:
        if isinstance(record, list) and len(record) != width:
            yield f"the number of fields is {len(record)}, not {width}", record
        else:
            yield record


def _read_header(
    records: Iterator[list[str] | tuple[str, object]], path: Path, table: str
) -> list[str]:
    first = next(records, None)
    if first is None:
        raise DataError(f"{path} ({table}) is empty")
    if isinstance(first, tuple):
        raise DataError(f"{path} ({table}): the header cannot be read, {first[0]}: {first[1]!r}")
    names = [name.strip() for name in first]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise DataError(f"{path} ({table}): the header names {twice[0]!r} more than once")
    if not is_utf8("".join(names)):
        raise DataError(f"{path} ({table}): the header is not UTF-8. Save the file as UTF-8")
    return names


def _json_records(lines: Iterator[str]) -> Iterator[dict[str, str] | tuple[str, object]]:
    for line in lines:
        line = line.rstrip("\r\n")
        if not line.strip():
            continue
        try:
            record = json.loads(line, parse_int=str, parse_float=plain_float, parse_constant=str)
        except (ValueError, RecursionError) as error:
            yield f"no JSON ({error})", line
            continue
        if isinstance(record, dict):
            yield {key.strip(): plain_text(value) for key, value in record.items()}
        else:
            yield "a JSON value that is no object", line


def _from_records(
    records: Iterator[Any],
    path: Path,
    table: str,
    names: list[str] | None,
    first_row: int = 1,
) -> RawTable:
    """Gathers records in chunks of columns, which need far less memory than rows."""
    chunks: list[pl.DataFrame] = []
    problems: list[_Problem] = []
    rows: list[Any] = []
    numbers: list[int] = []
    number = first_row - 1

    def close_chunk() -> None:
        chunks.append(_chunk(rows, numbers, names, problems))
        rows.clear()
        numbers.clear()

    for number, record in enumerate(records, start=first_row):
        if isinstance(record, tuple):
            problems.append((number, "bad_row", *record))
            continue
        rows.append(record)
        numbers.append(number)
        if len(rows) == _CHUNK_ROWS:
            close_chunk()
    close_chunk()
    frame = pl.concat(chunks, how="diagonal").with_columns(pl.col(pl.String).fill_null(""))
    rejected = rejected_rows(table, str(path), problems)
    return RawTable(table, str(path), frame, number - first_row + 1, [rejected])


def _chunk(
    rows: list[Any], numbers: list[int], names: list[str] | None, problems: list[_Problem]
) -> pl.DataFrame:
    try:
        return _columns(rows, numbers, names)
    except UnicodeEncodeError:  # rare, so only now every row is looked at
        pass
    whole_rows, whole_numbers = [], []
    for row, number in zip(rows, numbers, strict=True):
        texts = row if names is not None else [*row.keys(), *row.values()]
        if is_utf8("".join(texts)):
            whole_rows.append(row)
            whole_numbers.append(number)
        else:
            problems.append((number, "bad_encoding", "the row is not UTF-8", row))
    return _columns(whole_rows, whole_numbers, names)


def _columns(rows: list[Any], numbers: list[int], names: list[str] | None) -> pl.DataFrame:
    if names is None:
        names = list(dict.fromkeys(name for row in rows for name in row))
        columns: Any = ([row.get(name, "") for row in rows] for name in names)
    else:
        columns = zip(*rows, strict=True) if rows else ([] for _ in names)
    data = {n: pl.Series(c, dtype=pl.String) for n, c in zip(names, columns, strict=True)}
    return pl.DataFrame({**data, ROW: pl.Series(numbers, dtype=pl.Int64)})


def _from_frame(frame: pl.DataFrame, table: str, file: str, first_row: int = 1) -> RawTable:
    texts, broken = plain_strings(frame)
    rows = pl.int_range(first_row, first_row + frame.height, dtype=pl.Int64).alias(ROW)
    raw = RawTable(table, file, texts.with_columns(rows, broken.alias(_BROKEN)), frame.height)
    raw.set_aside(pl.col(_BROKEN), "bad_encoding", "the row is not UTF-8")
    raw.frame = raw.frame.drop(_BROKEN)
    return raw
