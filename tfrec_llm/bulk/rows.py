"""Files → rows with unique ids, and a line for each row that is set aside."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import apache_beam as beam
import polars as pl
from apache_beam.metrics import Metrics

from tfrec_llm.bulk.table_files import table_parts
from tfrec_llm.data.raw_table import ROW, RawTable, quarantine_lines, rejected_rows

NAMESPACE = "tfrec_llm"
REJECTED = "rejected"
ROWS = "rows"
Place = tuple[int, int]  # number of the file, number of the row in it


def count(name: str, number: int = 1) -> None:
    """Adds to a counter of the pipeline; those of rejected rows are named `rejected: REASON`."""
    Metrics.counter(NAMESPACE, name).inc(number)


class ReadRows(beam.DoFn):
    """Reads the files of a table; one worker reads a file.

    Takes the number of a file. Yields `(id, (place, payload))`, and lines of JSON to the output
    `REJECTED`.

    Args:
        files: the files of the table.
        table: "items" or "users".
        id_column: the column of ids.
        check: takes a part of the table, sets aside what is not sound, and returns a payload for
            each row that is left.
        list_columns: see `table_parts`.
    """

    def __init__(
        self,
        files: Sequence[str],
        table: str,
        id_column: str,
        check: Callable[[RawTable], Sequence[Any]],
        list_columns: Sequence[str] = (),
    ) -> None:
        self._list_columns = tuple(list_columns)
        self._files = list(files)
        self._table = table
        self._id_column = id_column
        self._check = check

    def process(self, file: int) -> Iterator[Any]:
        """Reads one file."""
        for raw in table_parts(self._files[file], self._table, self._list_columns):
            count(ROWS, raw.num_rows)
            raw.require_column(self._id_column, f"{self._table.removesuffix('s')}_id")
            raw.set_aside_bad_ids(self._id_column)
            payloads = self._check(raw)
            yield from _rejected(raw.quarantine)
            ids, rows = raw.frame[self._id_column].to_list(), raw.frame[ROW].to_list()
            for row_id, row, payload in zip(ids, rows, payloads, strict=True):
                yield row_id, ((file, row), payload)


class FirstOfEachId(beam.DoFn):
    """Keeps the first row of each id, in the order of files and rows, and sets aside the others.

    Takes `(id, rows)`, yields `(id, payload)`, and lines of JSON to the output `REJECTED`.

    Args:
        files: the files of the table.
        table: "items" or "users".
        id_column: the column of ids.
    """

    def __init__(self, files: Sequence[str], table: str, id_column: str) -> None:
        self._files = list(files)
        self._table = table
        self._id_column = id_column

    def process(self, element: tuple[str, Iterable[tuple[Place, Any]]]) -> Iterator[Any]:
        """Takes the rows of one id."""
        row_id, rows = element
        first, *others = sorted(rows, key=lambda row: row[0])
        kind = self._table.removesuffix("s")
        for (file, row), _ in others:
            detail = f"{kind} '{row_id}' stands in an earlier row, which is kept"
            problem = (row, f"duplicate_{kind}", detail, {self._id_column: row_id})
            yield from _rejected(rejected_rows(self._table, self._files[file], [problem]))
        yield row_id, first[1]


def unique_rows(
    pipeline: Any,
    files: Sequence[str],
    table: str,
    id_column: str,
    check: Callable[[RawTable], Sequence[Any]],
    list_columns: Sequence[str] = (),
) -> tuple[Any, Any]:
    """Adds the reading of a table to a pipeline; arguments as for `ReadRows`.

    Args:
        pipeline: `beam.Pipeline`.
        files: the files of the table.
        table: "items" or "users".
        id_column: the column of ids.
        check: see `ReadRows`.
        list_columns: see `table_parts`.

    Returns: collections of `(id, payload)`, and of lines of JSON for the rows set aside.
    """
    read = (
        pipeline
        | "files" >> beam.Create(range(len(files)))
        | "spread" >> beam.Reshuffle()
        | "read"
        >> beam.ParDo(ReadRows(files, table, id_column, check, list_columns)).with_outputs(
            REJECTED, main="rows"
        )
    )
    first = (
        read.rows
        | "by id" >> beam.GroupByKey()
        | "first of each id"
        >> beam.ParDo(FirstOfEachId(files, table, id_column)).with_outputs(REJECTED, main="rows")
    )
    rejected = (read[REJECTED], first[REJECTED]) | "all rejected" >> beam.Flatten()
    return first.rows, rejected


def _rejected(rows: pl.DataFrame) -> Iterator[Any]:
    for reason, line in zip(rows["reason"].to_list(), quarantine_lines(rows), strict=True):
        count(f"{REJECTED}: {reason}")
        yield beam.pvalue.TaggedOutput(REJECTED, line.rstrip("\n"))
