"""`tfrec-llm refresh`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from tfrec_llm.cli import output
from tfrec_llm.cli.options import Debug, Json, split_ids
from tfrec_llm.errors import UsageError


def refresh(
    export: Annotated[
        Path, typer.Argument(metavar="EXPORT", help="Folder of versions that `export` wrote.")
    ],
    items: Annotated[
        Path,
        typer.Option("--items", metavar="ITEMS.csv", help="Table of the whole new catalogue."),
    ],
    keep: Annotated[
        int | None,
        typer.Option(
            "--keep", min=1, metavar="N", help="Versions that stay, the new one included."
        ),
    ] = None,
    columns: Annotated[
        list[str] | None,
        typer.Option(
            "--columns",
            metavar="NAME=COLUMN,…",
            help="What the columns of training are called in this table: title=name,item_id=sku.",
        ),
    ] = None,
    force: Annotated[
        bool, typer.Option("--force", help="Write a version even if nothing changed.")
    ] = False,
    quarantine: Annotated[
        Path | None,
        typer.Option(
            "--quarantine", metavar="FOLDER", help="Folder that gets the rows that were set aside."
        ),
    ] = None,
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """Write a new version of an export for the items that there are now.

    Nothing is trained, and only new and changed texts are encoded. Items that are not in the
    table are never recommended any more; new ones come back at once where their text fits.
    The old version stays beside the new one.
    """
    named = _columns(columns)
    with output.working() as progress:
        from tfrec_llm.workflows.refresh import refresh as refresh_export

        summary = refresh_export(
            export,
            items,
            keep=keep,
            columns=named,
            force=force,
            quarantine=quarantine,
            progress=progress,
        )
    if as_json:
        output.print_json(summary)
    else:
        output.print_summary(summary)


def _columns(values: list[str] | None) -> dict[str, str]:
    named = {}
    for pair in split_ids(values, "--columns"):
        name, equals, column = pair.partition("=")
        if not (name and equals and column):
            raise UsageError(
                f"--columns {pair!r} is not NAME=COLUMN. Give the column of training first and "
                "that of this table second: title=name."
            )
        named[name] = column
    return named
