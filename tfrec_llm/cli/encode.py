"""`tfrec-llm encode`."""

from __future__ import annotations

import enum
from pathlib import Path
from typing import Annotated

import typer

from tfrec_llm.cli import output
from tfrec_llm.cli.options import Debug


class Precision(str, enum.Enum):
    """The values of `--precision`."""

    float32 = "float32"
    mixed_bfloat16 = "mixed_bfloat16"


def encode(
    items: Annotated[Path, typer.Argument(metavar="ITEMS.csv", help="Table of items.")],
    encoder: Annotated[
        str,
        typer.Option("--encoder", metavar="PRESET", help="Name of a preset, or a local folder."),
    ],
    out: Annotated[Path, typer.Option("--out", metavar="VECTORS.parquet", help="File to write.")],
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
    debug: Debug = False,
) -> None:
    """Turn the texts of a table into vectors."""
    with output.working() as progress:
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
            progress=progress,
        )
    output.print_summary(summary)
