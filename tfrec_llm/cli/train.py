"""`tfrec-llm train`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from tfrec_llm.cli import output
from tfrec_llm.cli.options import Debug


def train(
    config: Annotated[Path, typer.Argument(metavar="CONFIG.yaml", help="The run, as YAML.")],
    out: Annotated[Path, typer.Option("--out", metavar="RUN", help="Folder of the run.")],
    overrides: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            metavar="SECTION.KEY=VALUE",
            help="Change a key of the configuration; the value is YAML, a relative path in it is "
            "relative to the current folder. May be repeated.",
        ),
    ] = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on from the last checkpoint of RUN.")
    ] = False,
    debug: Debug = False,
) -> None:
    """Train a recommender from tables.

    The run folder gets the model, its measures, checkpoints and the rejected rows.
    """
    from tfrec_llm.config.load import load_config

    run = load_config(config, overrides or [])
    with output.working() as progress:
        from tfrec_llm.workflows.train import train as train_run

        summary = train_run(run, out, resume=resume, progress=progress)
    shown = ("run", "worker", "best_epoch", "validation_ndcg@10", "total_seconds")
    output.print_summary({name: summary.get(name) for name in shown})
