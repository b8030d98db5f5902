"""Item-kNN against its definition, written with loops over users and items."""

from __future__ import annotations

import math

import numpy as np
import polars as pl
import pytest

from tfrec_llm.baselines.interactions import Interactions
from tfrec_llm.baselines.item_knn import ItemKnn
from tfrec_llm.data.queries import Queries


def scores_by_hand(
    taken: dict[str, set[int]],
    num_items: int,
    history: list[int],
    shrinkage: float,
    neighbours: int,
    decay: float,
) -> list[float]:
    users_of = [{u for u, items in taken.items() if i in items} for i in range(num_items)]
    total = [0.0] * num_items
    weight_sum = sum(decay**age for age in range(len(history)))
    for age, mine in enumerate(reversed(history)):
        likeness = {}
        for other in range(num_items):
            both = len(users_of[mine] & users_of[other])
            if other != mine and both:
                root = math.sqrt(len(users_of[mine]) * len(users_of[other]))
                likeness[other] = both / (root + shrinkage)
        nearest = sorted(likeness, key=lambda other: -likeness[other])[:neighbours]
        for other in nearest:
            total[other] += decay**age * likeness[other] / weight_sum
    return total


@pytest.mark.parametrize(("neighbours", "decay"), [(100, 1.0), (100, 0.6), (3, 0.8)])
def test_scores_equal_the_definition(neighbours: int, decay: float) -> None:
    generator = np.random.default_rng(8)
    num_items, shrinkage = 15, 2.5
    taken = {
        f"u{n}": set(generator.choice(num_items, 4, replace=False).tolist()) for n in range(25)
    }
    rows = [(user, item) for user, items in taken.items() for item in items]
    frame = pl.DataFrame(rows, schema=["user_id", "item_number"], orient="row")
    histories = [generator.choice(num_items, size, replace=False) for size in (1, 3, 6)]
    queries = Queries(["x", "y", "z"], histories, [""] * 3, np.zeros(3, int), np.ones(3, bool))
    model = ItemKnn(shrinkage=shrinkage, num_neighbours=neighbours, decay=decay)
    found = model.fit(Interactions.from_frame(frame, num_items)).score(queries)
    for row, history in zip(found, histories, strict=True):
        wanted = scores_by_hand(taken, num_items, history.tolist(), shrinkage, neighbours, decay)
        if neighbours < num_items:  # of equal neighbours at the border any may be kept
            assert sorted(row.tolist()) == pytest.approx(sorted(wanted), abs=0.2)
            assert row.sum() == pytest.approx(sum(wanted), abs=1e-5)
        else:
            assert row.tolist() == pytest.approx(wanted, abs=1e-6)
