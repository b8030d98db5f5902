"""`tfrec-llm evaluate`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from tfrec_llm.cli import output
from tfrec_llm.cli.options import Debug, Json


def evaluate(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="Folder that `train` wrote.")],
    baselines: Annotated[
        bool, typer.Option("--baselines", help="Measure the baselines beside the model.")
    ] = False,
    sasrec: Annotated[
        bool,
        typer.Option("--sasrec", help="Measure SASRec too; it takes minutes, on large data more."),
    ] = False,
    rankings: Annotated[
        Path | None,
        typer.Option(
            "--rankings", metavar="FILE.parquet", help="Write each user's ranked list here."
        ),
    ] = None,
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """Measure a trained run on its test set.

    Every item of the corpus is ranked for every held-out case; `metrics.json` is written anew.
    """
    with output.working() as progress:
        from tfrec_llm.workflows.evaluate import evaluate as evaluate_run

        metrics = evaluate_run(
            run, baselines=baselines, sasrec=sasrec, rankings=rankings, progress=progress
        )
    if as_json:
        output.print_json(metrics)
    else:
        from tfrec_llm.evaluation.report_table import metrics_tables

        output.print_rich(metrics_tables(metrics))
