"""`tfrec-llm recommend`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from tfrec_llm.cli import output
from tfrec_llm.cli.options import Debug, Json, K, split_ids, split_times

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
    history_times: Annotated[
        str | None,
        typer.Option(
            "--history-times",
            metavar="SECONDS,SECONDS",
            help="When each item of --history was taken, in seconds since 1970, 0 where unknown; "
            "for a model trained with towers.time_gaps.",
        ),
    ] = None,
    rerank: Annotated[
        bool,
        typer.Option("--rerank", help="Let the ranker of the export order the candidates anew."),
    ] = False,
    diversity: Annotated[
        float,
        typer.Option(
            "--diversity",
            metavar="SHARE",
            min=0.0,
            max=1.0,
            help="How much unlikeness counts against the score, 0 to 1.",
        ),
    ] = 0.0,
    diversity_method: Annotated[
        str,
        typer.Option(
            "--diversity-method",
            metavar="mmr|dpp",
            help="Unlike the nearest listed item (mmr), or all listed ones together (dpp).",
        ),
    ] = "mmr",
    popularity_penalty: Annotated[
        float,
        typer.Option(
            "--popularity-penalty",
            metavar="WEIGHT",
            min=0.0,
            help="What the most popular item loses, as a share of the candidates' range of scores.",
        ),
    ] = 0.0,
    max_per_category: Annotated[
        int | None,
        typer.Option(
            "--max-per-category",
            metavar="N",
            min=1,
            help="The most items of one category; needs --categories.",
        ),
    ] = None,
    categories: Annotated[
        str | None,
        typer.Option(
            "--categories",
            metavar="FILE:COLUMN",
            help="Table of items and its column of categories; FILE:COLUMN:ID_COLUMN where the "
            "ids are not in `item_id`.",
        ),
    ] = None,
    candidates: Annotated[
        int,
        typer.Option(
            "--candidates",
            metavar="N",
            min=1,
            help="Of how many of the best items the four options above choose.",
        ),
    ] = 100,
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """Recommend items to one user.

    The user is known by free text, by the items they took, or by both.
    Items of the history are never recommended. With neither text nor history the popular items
    come. The score is the model's own, whatever else the order of the list follows.
    """
    history_ids, exclude_ids = split_ids(history, "--history"), split_ids(exclude, "--exclude")
    times = split_times(history_times, "--history-times")
    with output.working():
        from tfrec_llm.workflows.recommend import recommend as recommend_items

        items = recommend_items(
            export,
            text=text,
            history=history_ids,
            exclude=exclude_ids,
            k=k,
            history_times=times,
            rerank=rerank,
            diversity=diversity,
            diversity_method=diversity_method,
            popularity_penalty=popularity_penalty,
            max_per_category=max_per_category,
            categories=categories,
            candidates=candidates,
        )
    if as_json:
        output.print_json({"items": items})
    else:
        output.print_items(items)
