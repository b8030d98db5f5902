"""`tfrec-llm demo`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from tfrec_llm.cli import output
from tfrec_llm.cli.options import Debug


def demo(
    out: Annotated[
        Path, typer.Option("--out", metavar="FOLDER", help="Folder of the run and its export.")
    ] = Path("runs/demo"),
    debug: Debug = False,
) -> None:
    """Go the whole way on a small bookshop.

    Trains, measures, exports and recommends; needs no data and no network.
    """
    with output.working() as progress:
        from tfrec_llm.workflows.demo import demo as run_demo

        summary = run_demo(out, progress=progress)
    output.print_summary(summary)
