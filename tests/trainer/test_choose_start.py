from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from tfrec_llm.towers.starts import factorise_clicks, start_item_tower
from tfrec_llm.trainer import choose_start as module
from tfrec_llm.trainer.choose_start import choose_start


@pytest.fixture(scope="module")
def factors(world: Any) -> Any:
    histories = [w.astype(np.int64) for w in world.dataset.windows]
    return factorise_clicks(histories, len(world.features), num_factors=4)


def test_the_model_is_left_at_the_best_start_tried(world: Any, factors: Any) -> None:
    model = world.model()
    tried: list[tuple[float, np.ndarray]] = []

    def evaluate() -> float:
        table = model.item_tower.id_embedding.table.numpy()
        tried.append((float(np.sin(1000 * table.sum())), table))
        return tried[-1][0]

    chosen = choose_start(model, factors, world.features, evaluate)
    assert len(tried) == len(module.TEXT_SHARES) * len(module.POWERS)
    best, table = max(tried, key=lambda pair: pair[0])
    assert chosen.validation_ndcg == best
    np.testing.assert_array_equal(model.item_tower.id_embedding.table.numpy(), table)
    again = start_item_tower(
        factors, world.features, 4, text_share=chosen.text_share, power=chosen.power
    )
    np.testing.assert_allclose(again.id_table, table, atol=1e-6)


def test_a_given_text_share_is_kept(world: Any, factors: Any) -> None:
    model = world.model()
    values = iter(np.linspace(0, 1, 99))
    chosen = choose_start(
        model, factors, world.features, lambda: float(next(values)), text_share=0.0
    )
    assert chosen.text_share == 0.0 and chosen.power == module.POWERS[-1]


def test_of_equal_starts_the_first_is_taken(world: Any, factors: Any) -> None:
    chosen = choose_start(world.model(), factors, world.features, lambda: 0.0)
    assert (chosen.text_share, chosen.power) == (module.TEXT_SHARES[0], module.POWERS[0])
