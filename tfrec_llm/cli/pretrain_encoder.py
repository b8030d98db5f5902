"""`tfrec-llm pretrain-encoder`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from tfrec_llm.cli import output
from tfrec_llm.cli.options import Debug, Json


def pretrain_encoder(
    texts: Annotated[
        Path, typer.Argument(metavar="TEXTS", help="A table of texts, or .txt with one a line.")
    ],
    out: Annotated[Path, typer.Option("--out", metavar="PRESET", help="Folder to write.")],
    start_from: Annotated[
        str | None,
        typer.Option("--from", metavar="PRESET", help="Go on from a BERT: its name or folder."),
    ] = None,
    add_tokens: Annotated[
        bool,
        typer.Option("--add-tokens", help="With --from: add the characters that it cannot read."),
    ] = False,
    text: Annotated[
        list[str] | None,
        typer.Option(
            "--text-column",
            metavar="COLUMN",
            help="Column of text; may be repeated. Default: every text column.",
        ),
    ] = None,
    vocabulary_size: Annotated[
        int, typer.Option("--vocabulary-size", min=6, help="Most tokens, new or to be added.")
    ] = 8000,
    layers: Annotated[int, typer.Option("--layers", min=1, help="Layers of a new model.")] = 2,
    dim: Annotated[int, typer.Option("--dim", min=2, help="Width of a new model.")] = 128,
    heads: Annotated[int, typer.Option("--heads", min=1, help="Heads of a new model.")] = 2,
    max_tokens: Annotated[
        int, typer.Option("--max-tokens", min=4, max=512, help="Tokens read at a time.")
    ] = 64,
    epochs: Annotated[int, typer.Option("--epochs", min=1, help="Passes over the texts.")] = 20,
    steps: Annotated[
        int | None, typer.Option("--steps", min=1, help="Steps in all, instead of --epochs.")
    ] = None,
    batch_size: Annotated[int, typer.Option("--batch-size", min=1, help="Texts in a step.")] = 32,
    learning_rate: Annotated[
        float | None,
        typer.Option("--learning-rate", help="Default: 0.001, with --from 0.0001."),
    ] = None,
    mask_share: Annotated[
        float, typer.Option("--mask-share", help="Share of the tokens that are hidden.")
    ] = 0.15,
    halves_weight: Annotated[
        float,
        typer.Option(
            "--halves-weight",
            help="Weight of the loss that joins the halves of a text; 0: masked tokens only.",
        ),
    ] = 1.0,
    held_out: Annotated[
        float, typer.Option("--held-out", help="Share of the texts that are only measured by.")
    ] = 0.1,
    seed: Annotated[int, typer.Option("--seed", min=0, help="Seed of all chance.")] = 7,
    resume: Annotated[bool, typer.Option("--resume", help="Go on where a killed run was.")] = False,
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """Make a language model for a corpus that no preset fits.

    Builds a vocabulary and trains a small BERT by masked language modelling, or goes on from one.
    The folder is what `encoder.preset` and `encoder.preset_zh` of a configuration take.
    """
    with output.working() as progress:
        from tfrec_llm.workflows.pretrain_encoder import pretrain_encoder as run

        summary = run(
            texts,
            out=out,
            text_columns=text,
            start_from=start_from,
            more_tokens=add_tokens,
            vocabulary_size=vocabulary_size,
            num_layers=layers,
            dim=dim,
            num_heads=heads,
            max_tokens=max_tokens,
            epochs=epochs,
            steps=steps,
            batch_size=batch_size,
            learning_rate=learning_rate,
            mask_share=mask_share,
            halves_weight=halves_weight,
            held_out=held_out,
            seed=seed,
            resume=resume,
            progress=progress,
        )
    if as_json:
        output.print_json(summary)
    else:
        output.print_summary(summary)
