"""Rows → batches → what is made of each."""

from __future__ import annotations

from typing import Any

import apache_beam as beam


def in_batches(rows: Any, step: str, do: beam.DoFn, rows_at_once: int) -> Any:
    """Gathers rows and works on them together.

    Args:
        rows: collection of anything.
        step: name of the work in the pipeline.
        do: takes lists of rows.
        rows_at_once: int >= 1, rows of a list; the last one of a bundle may be shorter.

    Returns: the collection of what `do` yields.
    """
    return (
        rows
        | "batch" >> beam.BatchElements(min_batch_size=rows_at_once, max_batch_size=rows_at_once)
        | step >> beam.ParDo(do)
    )
