"""A planted world: two groups of items, users stay in their group and walk it in order."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from tfrec_llm.keras_api import keras, tf
from tfrec_llm.models.two_tower_model import TwoTowerModel
from tfrec_llm.towers.item_tower import ItemTower
from tfrec_llm.towers.user_tower import UserTower
from tfrec_llm.trainer.sequences import SequenceDataset
from tfrec_llm.trainer.train_two_tower import FitResult, Optimisation, fit

collect_ignore = ["run_replicas.py"]  # a program of its own, started by tests

NUM_ITEMS, FEATURE_DIM, DIM = 12, 6, 4


class PlantedWorld:
    def __init__(self) -> None:
        generator = np.random.default_rng(4)
        self.features = generator.normal(size=(NUM_ITEMS, FEATURE_DIM)).astype(np.float32)
        rows: list[tuple[str, int, int]] = []
        for user in range(40):
            begin, group = int(generator.integers(6)), user % 2
            for place in range(4):
                rows.append((f"u{user}", 6 * group + (begin + place) % 6, place))
        names = ["user_id", "item_number", "position"]
        self.interactions = pl.DataFrame(rows, schema=names, orient="row")
        self.texts = {f"u{user}": user for user in range(0, 40, 2)}
        self.user_features = generator.normal(size=(40, FEATURE_DIM)).astype(np.float32)
        self.dataset = SequenceDataset(self.interactions, 4, self.texts)
        counts = np.bincount(self.interactions["item_number"], minlength=NUM_ITEMS)
        self.share = counts / counts.sum()

    def model(self, kind: str = "mean", seed: int = 1, **options: Any) -> TwoTowerModel:
        keras.utils.set_random_seed(seed)
        return TwoTowerModel(
            ItemTower(NUM_ITEMS, DIM, item_id_dropout=0.3, dropout=0.2),
            UserTower(kind, 4, dropout=0.2),
            feature_dim=FEATURE_DIM,
            **options,
        )

    def quality(self, model: TwoTowerModel) -> Callable[[], float]:
        """How much nearer the next item is than the others, for histories of one item."""

        def measure() -> float:
            items = model.embed_corpus(self.features)
            users = model.embed_users(
                tf.constant(items[:, None]),
                tf.ones((NUM_ITEMS, 1), tf.bool),
                tf.zeros((NUM_ITEMS, FEATURE_DIM)),
                tf.zeros([NUM_ITEMS], tf.bool),
            ).numpy()
            scores = users @ items.T
            following = [6 * (i // 6) + (i + 1) % 6 for i in range(NUM_ITEMS)]
            return float(scores[np.arange(NUM_ITEMS), following].mean() - scores.mean())

        return measure

    def fit(self, model: TwoTowerModel, folder: Path, **changes: Any) -> FitResult:
        optimisation = {
            "batch_size": 16,
            "epochs": 4,
            "stop_after": 4,
            "learning_rate": 0.02,
            "uniform_negatives": 8,
            "patience": 9,
            "text_search_weight": 0.0,
        }
        own = Optimisation.__dataclass_fields__
        optimisation.update({k: v for k, v in changes.items() if k in own})
        options: dict[str, Any] = {"phase": "select", "fingerprint": "ours"}
        options.update({k: v for k, v in changes.items() if k not in own})
        dataset = options.pop("dataset", self.dataset)
        return fit(
            model,
            dataset,
            self.features,
            self.user_features,
            self.share,
            Optimisation(**optimisation),
            folder=folder,
            **options,
        )


@pytest.fixture(scope="session")
def world() -> PlantedWorld:
    return PlantedWorld()
