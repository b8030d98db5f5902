"""A small world of two tastes for the tests of the baselines."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import polars as pl
import pytest

from tfrec_llm.baselines.interactions import Interactions
from tfrec_llm.data.queries import Queries


@pytest.fixture(scope="session")
def make_queries() -> Callable[..., Queries]:
    def make(
        histories: Sequence[Sequence[int]],
        texts: Sequence[str] | None = None,
        user_ids: Sequence[str] | None = None,
        targets: Sequence[int] | None = None,
    ) -> Queries:
        n = len(histories)
        return Queries(
            user_ids=list(user_ids or [f"new {i}" for i in range(n)]),
            histories=[np.array(h, dtype=np.int32) for h in histories],
            texts=list(texts or [""] * n),
            targets=np.array(targets if targets is not None else [0] * n, dtype=np.int32),
            is_cold_user=np.zeros(n, dtype=bool),
        )

    return make


@pytest.fixture(scope="session")
def make_interactions() -> Callable[..., Interactions]:
    def make(taken: dict[str, Sequence[int]], num_items: int) -> Interactions:
        pairs = [(user, item) for user, items in taken.items() for item in items]
        frame = pl.DataFrame(
            {"user_id": [user for user, _ in pairs], "item_number": [item for _, item in pairs]},
            schema={"user_id": pl.String, "item_number": pl.Int32},
        )
        return Interactions.from_frame(frame, num_items)

    return make


@pytest.fixture(scope="session")
def two_tastes() -> pl.DataFrame:
    """40 users take four items each of 0..9 or of 10..19; item 20 is never taken."""
    generator = np.random.default_rng(0)
    rows = [
        (f"user {user}", int(item))
        for user in range(40)
        for item in generator.choice(10, 4, replace=False) + 10 * (user % 2)
    ]
    return pl.DataFrame(rows, schema={"user_id": pl.String, "item_number": pl.Int32}, orient="row")
