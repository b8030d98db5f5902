"""An export → answers, as a server would give them."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tfrec_llm.data.categories import read_categories
from tfrec_llm.diversity.knobs import Knobs
from tfrec_llm.serving.loaded import load


def recommend(
    export: str | Path,
    *,
    text: str = "",
    history: Sequence[str] = (),
    exclude: Sequence[str] = (),
    k: int = 10,
    history_times: Sequence[float] | None = None,
    rerank: bool = False,
    diversity: float = 0.0,
    diversity_method: str = "mmr",
    popularity_penalty: float = 0.0,
    max_per_category: int | None = None,
    categories: Mapping[str, str] | str | None = None,
    candidates: int = 100,
) -> list[dict[str, Any]]:
    """Recommends items to one user; see `LoadedRecommender.recommend`.

    Returns: dicts of `item_id`, `title` and `score`, best first.
    """
    # What can be wrong without the model is told before it is loaded, which takes seconds.
    knobs = Knobs(diversity, diversity_method, popularity_penalty, max_per_category)
    knobs.check_categories(categories is not None)
    if isinstance(categories, str):
        categories = read_categories(categories)
    answer = load(export).recommend(
        text=text,
        history=history,
        exclude=exclude,
        k=k,
        history_times=history_times,
        rerank=rerank,
        diversity=diversity,
        diversity_method=diversity_method,
        popularity_penalty=popularity_penalty,
        max_per_category=max_per_category,
        categories=categories,
        candidates=candidates,
    )
    return [dataclasses.asdict(item) for item in answer]


def similar(export: str | Path, item_id: str, *, k: int = 10) -> list[dict[str, Any]]:
    """Finds the items most like an item; see `LoadedRecommender.similar`.

    Returns: dicts of `item_id`, `title` and `score`, best first.
    """
    return [dataclasses.asdict(item) for item in load(export).similar(item_id, k=k)]
