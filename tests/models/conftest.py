"""A small model with random weights, and a batch of users."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from tfrec_llm.keras_api import tf
from tfrec_llm.models.two_tower_model import TwoTowerModel
from tfrec_llm.testing.layer_checks import randomise
from tfrec_llm.towers.item_tower import ItemTower
from tfrec_llm.towers.user_tower import UserTower

NUM_ITEMS, FEATURE_DIM, DIM = 10, 6, 4


@pytest.fixture
def make_model() -> Callable[..., TwoTowerModel]:
    def make(
        kind: str = "transformer", max_history: int = 4, time_gaps: bool = False, **options: Any
    ) -> TwoTowerModel:
        """Without drop-out, so that training sees what serving sees, unless `item_tower` has it."""
        of_items = {"item_id_dropout": 0.0, "dropout": 0.0, **options.pop("item_tower", {})}
        model = TwoTowerModel(
            ItemTower(NUM_ITEMS, DIM, **of_items),
            UserTower(kind, max_history, dropout=0.0, time_gaps=time_gaps),
            feature_dim=FEATURE_DIM,
            **options,
        )
        randomise(model.item_tower, seed=1)
        randomise(model.user_tower, seed=2)
        return model

    return make


@pytest.fixture
def corpus() -> np.ndarray:
    return np.random.default_rng(7).normal(size=(NUM_ITEMS, FEATURE_DIM)).astype(np.float32)


@pytest.fixture
def make_batch(corpus: np.ndarray) -> Callable[..., dict[str, Any]]:
    """Four users: plain, plain with text, text alone (history hidden), one lone item."""

    def make(**changes: Any) -> dict[str, Any]:
        batch = {
            "sequences": [
                [-1, 3, 1, 4, 0],
                [2, 5, 3, 6, 7],
                [-1, -1, 8, 1, 2],
                [-1, -1, -1, -1, 9],
            ],
            "user_features": np.random.default_rng(8).normal(size=(4, FEATURE_DIM)),
            "user_text_mask": [False, True, True, False],
            "hide_history": [False, False, True, False],
            "negatives": [9, 3, 0, 9, 5],
            "corpus_features": corpus,
            "positive_share": np.linspace(0.19, 0.01, NUM_ITEMS),
            "max_positives": 100,
            "seed": [1, 2],
            **changes,
        }
        dtypes = {
            "user_features": tf.float32,
            "user_text_mask": tf.bool,
            "hide_history": tf.bool,
            "corpus_features": tf.float32,
            "positive_share": tf.float32,
        }
        return {k: tf.convert_to_tensor(v, dtypes.get(k, tf.int32)) for k, v in batch.items()}

    return make
