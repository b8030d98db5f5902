"""`tfrec-llm export`."""

from __future__ import annotations

import enum
from pathlib import Path
from typing import Annotated

import typer

from tfrec_llm.cli import output
from tfrec_llm.cli.options import Debug


class IndexKind(str, enum.Enum):
    """The values of `--index`."""

    scann = "scann"
    ivf = "ivf"
    brute_force = "brute_force"
    auto = "auto"


class Server(str, enum.Enum):
    """The values of `--serve-on`."""

    stock = "stock"
    scann = "scann"


def export(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="Folder that `train` wrote.")],
    out: Annotated[
        Path,
        typer.Option("--out", metavar="EXPORT", help="Folder that gets the next version."),
    ],
    index: Annotated[
        IndexKind | None,
        typer.Option(
            "--index",
            help="scann and ivf are approximate, brute_force exact; auto chooses by the size of "
            "the corpus and the server. Default: as configured.",
        ),
    ] = None,
    serve_on: Annotated[
        Server | None,
        typer.Option(
            "--serve-on",
            help="For auto: stock TensorFlow Serving, or one built with ScaNN's ops. Default: as "
            "configured.",
        ),
    ] = None,
    max_k: Annotated[
        int | None,
        typer.Option(
            "--max-k",
            min=1,
            metavar="K",
            help="The most items that a request can ask for. Default: as configured.",
        ),
    ] = None,
    popularity_prior: Annotated[
        float | None,
        typer.Option(
            "--popularity-prior",
            min=0.0,
            max=1.0,
            metavar="SHARE",
            help="Share of what recent items gain and popular ones lose that is served; 0 "
            "switches it off. Default: as configured.",
        ),
    ] = None,
    debug: Debug = False,
) -> None:
    """Write a trained run as a SavedModel.

    It takes strings and gives item ids and scores; nothing else is needed to serve it.
    """
    with output.working() as progress:
        from tfrec_llm.workflows.export import export as export_run

        summary = export_run(
            run,
            out,
            index=None if index is None else index.value,
            serve_on=None if serve_on is None else serve_on.value,
            max_k=max_k,
            popularity_prior=popularity_prior,
            progress=progress,
        )
    output.print_summary(summary)
