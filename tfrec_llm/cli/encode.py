"""`tfrec-llm encode`."""

from __future__ import annotations

import enum
from typing import Annotated

import typer

from tfrec_llm.cli import output
from tfrec_llm.cli.options import BeamOptions, Debug, MaxQuarantinedShare, OutputShards
from tfrec_llm.errors import UsageError


class Precision(str, enum.Enum):
    """The values of `--precision`."""

    float32 = "float32"
    mixed_bfloat16 = "mixed_bfloat16"


def encode(
    items: Annotated[
        str,
        typer.Argument(
            metavar="ITEMS.csv",
            help="Table of items; with --runner a folder or a pattern in quotes, too.",
        ),
    ],
    encoder: Annotated[
        str,
        typer.Option("--encoder", metavar="PRESET", help="Name of a preset, or a local folder."),
    ],
    out: Annotated[
        str,
        typer.Option(
            "--out", metavar="VECTORS.parquet", help="File to write; with --runner a folder."
        ),
    ],
    item_id: Annotated[
        str, typer.Option("--item-id", metavar="COLUMN", help="Column of the ids.")
    ] = "item_id",
    text: Annotated[
        list[str] | None,
        typer.Option(
            "--text-column",
            metavar="COLUMN",
            help="Column of text; may be repeated. Default: every text column.",
        ),
    ] = None,
    max_tokens: Annotated[
        int, typer.Option("--max-tokens", min=4, max=512, help="Tokens read of a text.")
    ] = 64,
    precision: Annotated[
        Precision, typer.Option("--precision", help="Arithmetic of the encoder.")
    ] = Precision.float32,
    batch_size: Annotated[
        int, typer.Option("--batch-size", min=1, help="Texts encoded at a time.")
    ] = 32,
    runner: Annotated[
        str | None,
        typer.Option(
            "--runner",
            metavar="RUNNER",
            help="Encode in an Apache Beam pipeline: DirectRunner here, or FlinkRunner, "
            "SparkRunner, DataflowRunner.",
        ),
    ] = None,
    beam_options: BeamOptions = None,
    shards: OutputShards = 0,
    max_quarantined_share: MaxQuarantinedShare = 0.5,
    debug: Debug = False,
) -> None:
    """Turn the texts of a table into vectors."""
    if runner is None and (beam_options or shards):
        raise UsageError("--beam-option and --shards belong to a pipeline: name its --runner.")
    with output.working() as progress:
        if runner is not None:
            from tfrec_llm.workflows.bulk import encode_in_bulk

            summary = encode_in_bulk(
                items,
                encoder=encoder,
                out=out,
                runner=runner,
                beam_options=beam_options or [],
                num_shards=shards,
                item_id=item_id,
                text_columns=text,
                max_tokens=max_tokens,
                precision=precision.value,
                batch_size=batch_size,
                max_quarantined_share=max_quarantined_share,
                progress=progress,
            )
            output.print_summary(summary)
            return
        from tfrec_llm.workflows.encode import encode_table

        summary = encode_table(
            items,
            encoder=encoder,
            out=out,
            item_id=item_id,
            text_columns=text,
            max_tokens=max_tokens,
            precision=precision.value,
            batch_size=batch_size,
            max_quarantined_share=max_quarantined_share,
            progress=progress,
        )
    output.print_summary(summary)
