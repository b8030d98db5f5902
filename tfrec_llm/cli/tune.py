"""`tfrec-llm tune`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from tfrec_llm.cli import output
from tfrec_llm.cli.options import Debug, Json


def tune(
    config: Annotated[Path, typer.Argument(metavar="CONFIG.yaml", help="The run, as YAML.")],
    trials: Annotated[
        int,
        typer.Option("--trials", min=1, metavar="N", help="Trials in all; the first is CONFIG."),
    ],
    out: Annotated[Path, typer.Option("--out", metavar="STUDY", help="Folder of the search.")],
    space: Annotated[
        Path | None,
        typer.Option(
            "--space",
            metavar="SPACE.yaml",
            help="What to try: keys with a list of values, or with {low: …, high: …, log: true}. "
            "Default: learning rate, widths, dropout and more, see docs/how-to/tune.md.",
        ),
    ] = None,
    overrides: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            metavar="SECTION.KEY=VALUE",
            help="Change a key of the configuration for all trials. May be repeated.",
        ),
    ] = None,
    timeout: Annotated[
        float | None,
        typer.Option("--timeout", min=0, metavar="SECONDS", help="Begin no trial later than that."),
    ] = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on with the search in STUDY.")
    ] = False,
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """Search for the settings that do best on validation.

    STUDY gets best.yaml, to train with, report.md, trials.csv and study.db. The test set is not
    read.
    """
    from tfrec_llm.config.load import load_config
    from tfrec_llm.config.load_search_space import load_search_space

    run = load_config(config, overrides or [])
    searched = None if space is None else load_search_space(space, run)
    with output.working() as progress:
        from tfrec_llm.workflows.tune import tune as search

        summary = search(
            run,
            out,
            trials=trials,
            space=searched,
            timeout_seconds=timeout,
            resume=resume,
            progress=progress,
        )
    if as_json:
        output.print_json(summary)
    else:
        best = {name: summary["best"][name] for name in ("trial", "validation_ndcg@10")}
        shown = ("study", "trials", "given", "best_config", "report", "seconds")
        output.print_summary({**{name: summary[name] for name in shown}, "best": best})
