"""Options that several verbs share."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from typing import Annotated

import typer

from tfrec_llm.errors import UsageError

Debug = Annotated[bool, typer.Option("--debug", help="Show the traceback of an error.")]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON object to stdout.")]
BeamOptions = Annotated[
    list[str] | None,
    typer.Option(
        "--beam-option",
        metavar="KEY=VALUE",
        help="Option of the runner, without dashes, such as direct_num_workers=2. May be repeated.",
    ),
]
OutputShards = Annotated[
    int,
    typer.Option("--shards", min=0, max=99_999, help="Files to write; 0: as the runner has them."),
]
MaxQuarantinedShare = Annotated[
    float,
    typer.Option(
        "--max-quarantined-share", min=0.0, max=1.0, help="Fail when more of the rows are rejected."
    ),
]
K = Annotated[int, typer.Option("-k", min=1, metavar="K", help="How many items.")]


def split_ids(values: Sequence[str] | None, option: str) -> list[str]:
    """Returns the ids of an option that may be repeated and holds `ID,ID`.

    Spaces around an id and empty ids are left out. An id that holds a comma is quoted as in a
    CSV file.

    Args:
        values: what the option got, once or several times.
        option: its name, for the message of an error.

    Raises: UsageError for a quote that never ends.

    Example:
        >>> split_ids(["dune, foundation", '"Paris, Texas"'], "--history")
        ['dune', 'foundation', 'Paris, Texas']
    """
    ids: list[str] = []
    for value in values or ():
        try:
            rows = list(csv.reader([value], skipinitialspace=True, strict=True))
        except csv.Error as error:
            raise UsageError(
                f"{option} {value!r} is not a list of ids: {error}. Separate ids with commas, and "
                'put an id that holds a comma or a quote into double quotes: "Paris, Texas".'
            ) from error
        ids += [cell.strip() for row in rows for cell in row if cell.strip()]
    return ids


def split_times(value: str | None, option: str) -> list[float] | None:
    """Returns the times of an option that holds `SECONDS,SECONDS`, None where it was not given.

    Args:
        value: what the option got.
        option: its name, for the message of an error.

    Raises: UsageError for what is no number.

    Example:
        >>> split_times("1700000000, 0", "--history-times")
        [1700000000.0, 0.0]
    """
    if value is None:
        return None
    try:
        return [float(cell) for cell in value.split(",")]
    except ValueError as error:
        raise UsageError(
            f"{option} {value!r} is not a list of times. Give seconds since 1970 separated with "
            "commas, one for each item of --history, and 0 where a time is not known."
        ) from error
