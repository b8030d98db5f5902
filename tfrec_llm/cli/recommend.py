"""`tfrec-llm recommend`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from tfrec_llm.cli import output
from tfrec_llm.cli.options import Debug, Json, K, split_ids

_HOW = "May be repeated; an id that holds a comma is put into double quotes: '\"a, b\",c'."


def recommend(
    export: Annotated[Path, typer.Argument(metavar="EXPORT", help="Folder `export` wrote.")],
    text: Annotated[
        str, typer.Option("--text", metavar="TEXT", help="What the user says of their taste.")
    ] = "",
    history: Annotated[
        list[str] | None,
        typer.Option(
            "--history", metavar="ID,ID", help=f"Items the user took, oldest first. {_HOW}"
        ),
    ] = None,
    exclude: Annotated[
        list[str] | None,
        typer.Option("--exclude", metavar="ID,ID", help=f"Items to leave out. {_HOW}"),
    ] = None,
    k: K = 10,
    rerank: Annotated[
        bool,
        typer.Option("--rerank", help="Let the ranker of the export order the candidates anew."),
    ] = False,
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """Recommend items to one user.

    The user is known by free text, by the items they took, or by both.
    Items of the history are never recommended. With neither text nor history the popular items
    come.
    """
    history_ids, exclude_ids = split_ids(history, "--history"), split_ids(exclude, "--exclude")
    with output.working():
        from tfrec_llm.workflows.recommend import recommend as recommend_items

        items = recommend_items(
            export, text=text, history=history_ids, exclude=exclude_ids, k=k, rerank=rerank
        )
    if as_json:
        output.print_json({"items": items})
    else:
        output.print_items(items)
