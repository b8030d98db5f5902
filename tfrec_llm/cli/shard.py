"""`tfrec-llm shard`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from tfrec_llm.cli import output
from tfrec_llm.cli.options import Debug, Json


def shard(
    config: Annotated[Path, typer.Argument(metavar="CONFIG.yaml", help="The run, as YAML.")],
    out: Annotated[Path, typer.Option("--out", metavar="FOLDER", help="Folder to write.")],
    shards: Annotated[
        int,
        typer.Option(
            "--shards",
            min=1,
            max=99_999,
            help="How many files; the interactions of one must fit into memory.",
        ),
    ] = 16,
    overrides: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            metavar="SECTION.KEY=VALUE",
            help="Change a key of the configuration. May be repeated.",
        ),
    ] = None,
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """Write interactions larger than the memory as TFRecord shards, to train from.

    Train then with data.source=shards and data.folder=FOLDER. Rows that cannot be used are set
    aside in FOLDER/quarantine and counted.
    """
    from tfrec_llm.config.load import load_config

    run = load_config(config, overrides or [])
    with output.working() as progress:
        from tfrec_llm.workflows.shard import shard as write

        summary = write(run, out, num_shards=shards, progress=progress)
    if as_json:
        output.print_json(summary)
    else:
        output.print_summary(summary)
