"""Small corpora, queries and models for the tests of the evaluation."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import polars as pl
import pytest

from tfrec_llm.data.catalogue import Catalogue
from tfrec_llm.data.queries import Queries


class FixedScores:
    """Gives the same row of scores to a user however the queries are batched."""

    def __init__(self, scores: np.ndarray, name: str = "fixed") -> None:
        self.name = name
        self.scores = scores
        self.batch_sizes: list[int] = []

    def score(self, queries: Queries) -> np.ndarray:
        self.batch_sizes.append(len(queries))
        return self.scores[[int(user_id.lstrip("u").split(".")[0]) for user_id in queries.user_ids]]


@pytest.fixture(scope="session")
def fixed_scores() -> type[FixedScores]:
    return FixedScores


@pytest.fixture(scope="session")
def make_catalogue() -> Callable[..., Catalogue]:
    def make(item_ids: int | Sequence[str]) -> Catalogue:
        ids = [f"i{n}" for n in range(item_ids)] if isinstance(item_ids, int) else list(item_ids)
        frame = pl.DataFrame(
            {"item_id": ids, "title": ids, "text": ids},
            schema=dict.fromkeys(("item_id", "title", "text"), pl.String),
        )
        return Catalogue(frame)

    return make


@pytest.fixture(scope="session")
def make_queries() -> Callable[..., Queries]:
    def make(
        targets: Sequence[int],
        histories: Sequence[Sequence[int]] | None = None,
        user_ids: Sequence[str] | None = None,
        cold: Sequence[bool] | None = None,
    ) -> Queries:
        n = len(targets)
        return Queries(
            user_ids=list(user_ids) if user_ids is not None else [f"u{i}" for i in range(n)],
            histories=[
                np.array(h, dtype=np.int32) for h in ([[]] * n if histories is None else histories)
            ],
            texts=[""] * n,
            targets=np.array(targets, dtype=np.int32),
            is_cold_user=np.array(cold if cold is not None else [False] * n, dtype=bool),
        )

    return make
