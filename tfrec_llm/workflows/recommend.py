"""An export → answers, as a server would give them."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tfrec_llm.serving.loaded import load


def recommend(
    export: str | Path,
    *,
    text: str = "",
    history: Sequence[str] = (),
    exclude: Sequence[str] = (),
    k: int = 10,
    rerank: bool = False,
) -> list[dict[str, Any]]:
    """Recommends items to one user; see `LoadedRecommender.recommend`.

    Returns: dicts of `item_id`, `title` and `score`, best first.
    """
    answer = load(export).recommend(text=text, history=history, exclude=exclude, k=k, rerank=rerank)
    return [dataclasses.asdict(item) for item in answer]


def similar(export: str | Path, item_id: str, *, k: int = 10) -> list[dict[str, Any]]:
    """Finds the items most like an item; see `LoadedRecommender.similar`.

    Returns: dicts of `item_id`, `title` and `score`, best first.
    """
    return [dataclasses.asdict(item) for item in load(export).similar(item_id, k=k)]
