"""`tfrec-llm similar`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from tfrec_llm.cli import output
from tfrec_llm.cli.options import Debug, Json, K


def similar(
    export: Annotated[Path, typer.Argument(metavar="EXPORT", help="Folder `export` wrote.")],
    item_id: Annotated[str, typer.Argument(metavar="ITEM_ID", help="The item to start from.")],
    k: K = 10,
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """List the items nearest to an item.

    The item itself is never among them.
    """
    with output.working():
        from tfrec_llm.workflows.recommend import similar as similar_items

        items = similar_items(export, item_id, k=k)
    if as_json:
        output.print_json({"items": items})
    else:
        output.print_items(items)
