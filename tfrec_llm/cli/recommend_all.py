"""`tfrec-llm recommend-all`."""

from __future__ import annotations

from typing import Annotated

import typer

from tfrec_llm.cli import output
from tfrec_llm.cli.options import (
    BeamOptions,
    Debug,
    Json,
    K,
    MaxQuarantinedShare,
    OutputShards,
)


def recommend_all(
    export: Annotated[str, typer.Argument(metavar="EXPORT", help="Folder of an export.")],
    users: Annotated[
        str,
        typer.Option(
            "--users",
            metavar="FILE",
            help="Table of users: a file, a folder, or a pattern in quotes.",
        ),
    ],
    out: Annotated[str, typer.Option("--out", metavar="FOLDER", help="Folder to write.")],
    k: K = 10,
    runner: Annotated[
        str, typer.Option("--runner", metavar="RUNNER", help="Apache Beam runner.")
    ] = "DirectRunner",
    beam_options: BeamOptions = None,
    shards: OutputShards = 0,
    user_id: Annotated[
        str, typer.Option("--user-id", metavar="COLUMN", help="Column of the ids.")
    ] = "user_id",
    history: Annotated[
        str | None,
        typer.Option(
            "--history-column",
            metavar="COLUMN",
            help="Column of items taken, oldest first: a list, or ID,ID. Default: history, if it "
            "is there.",
        ),
    ] = None,
    text: Annotated[
        list[str] | None,
        typer.Option(
            "--text-column",
            metavar="COLUMN",
            help="Column of text about the user; may be repeated. Default: every other text "
            "column.",
        ),
    ] = None,
    batch_size: Annotated[
        int, typer.Option("--batch-size", min=1, help="Users asked at a time.")
    ] = 256,
    max_quarantined_share: MaxQuarantinedShare = 0.5,
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """Recommend items to every user of a table, here or on a cluster.

    The folder gets recommendations-00000-of-0000N.parquet, rejected rows with their reasons, and
    summary.json.
    """
    with output.working() as progress:
        from tfrec_llm.workflows.bulk import recommend_in_bulk

        summary = recommend_in_bulk(
            export,
            users,
            out=out,
            k=k,
            runner=runner,
            beam_options=beam_options or [],
            num_shards=shards,
            user_id=user_id,
            history=history,
            text_columns=text,
            batch_size=batch_size,
            max_quarantined_share=max_quarantined_share,
            progress=progress,
        )
    if as_json:
        output.print_json(summary)
    else:
        output.print_summary(summary)
