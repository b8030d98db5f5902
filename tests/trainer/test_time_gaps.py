"""A planted world in which the time before an item says from which shelf the next one comes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl
import pytest

from tfrec_llm.data.queries import Queries
from tfrec_llm.data.time_gaps import gap_buckets
from tfrec_llm.keras_api import keras
from tfrec_llm.models.retrieval_scorer import RetrievalScorer
from tfrec_llm.models.two_tower_model import TwoTowerModel
from tfrec_llm.towers.item_tower import ItemTower
from tfrec_llm.towers.user_tower import UserTower
from tfrec_llm.trainer.sequences import SequenceDataset
from tfrec_llm.trainer.train_two_tower import Optimisation, fit

NUM_ITEMS, DIM, NUM_USERS, LENGTH = 20, 8, 300, 6
SHELF = NUM_ITEMS // 2


def planted(num_users: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Items and times `(num_users, LENGTH)`; after a day comes shelf 1, else shelf 0."""
    draw = np.random.default_rng(seed)
    waited = draw.integers(2, size=(num_users, LENGTH))
    seconds = np.where(waited == 1, 86_400, 60) + draw.integers(20, size=waited.shape)
    shelf = np.pad(waited[:, :-1], [(0, 0), (1, 0)])
    items = SHELF * shelf + draw.integers(SHELF, size=waited.shape)
    return items, 1_700_000_000 + np.cumsum(seconds, axis=1)


def trained(time_gaps: bool, folder: Path) -> tuple[TwoTowerModel, np.ndarray]:
    items, times = planted(NUM_USERS, seed=1)
    frame = pl.DataFrame(
        {
            "user_id": np.repeat([f"u{n:03}" for n in range(NUM_USERS)], LENGTH),
            "item_number": items.ravel(),
            "position": np.tile(np.arange(LENGTH), NUM_USERS),
            "gap": np.concatenate([gap_buckets(of_user) for of_user in times]),
        }
    )
    keras.utils.set_random_seed(1)
    model = TwoTowerModel(
        ItemTower(NUM_ITEMS, DIM, item_id_dropout=0.0, dropout=0.0),
        UserTower("attention", LENGTH, dropout=0.0, time_gaps=time_gaps),
        feature_dim=3,
    )
    features = np.zeros((NUM_ITEMS, 3), np.float32)
    # As a factorisation starts: items of one shelf stand together.
    table = np.random.default_rng(2).normal(0.0, 0.3, size=(NUM_ITEMS, DIM))
    table[:, 0] += np.where(np.arange(NUM_ITEMS) < SHELF, -1.0, 1.0)
    assert model.item_tower.id_embedding is not None
    model.item_tower.id_embedding.table.assign(table)
    fit(
        model,
        SequenceDataset(frame, LENGTH, time_gaps=time_gaps),
        features,
        np.zeros((0, 3), np.float32),
        np.bincount(items.ravel(), minlength=NUM_ITEMS) / items.size,
        Optimisation(
            batch_size=20,
            epochs=8,
            stop_after=8,
            learning_rate=0.05,
            uniform_negatives=NUM_ITEMS,
            text_search_weight=0.0,
        ),
        folder=folder,
        phase="select",
        fingerprint="ours",
    )
    return model, features


def recall(
    model: TwoTowerModel, features: np.ndarray, *, told: bool = True
) -> tuple[float, np.ndarray]:
    """Recall@10, a shelf, over other users than those of training."""
    items, times = planted(200, seed=5)
    queries = Queries(
        user_ids=[str(n) for n in range(len(items))],
        histories=list(items[:, :-1].astype(np.int32)),
        texts=[""] * len(items),
        targets=items[:, -1].astype(np.int32),
        is_cold_user=np.ones(len(items), bool),
        gaps=[gap_buckets(of_user)[:-1] for of_user in times] if told else None,
    )
    scores = RetrievalScorer(model, features, np.ones(NUM_ITEMS)).score(queries)
    best = np.argsort(-scores, axis=1)[:, :SHELF]
    return float((best == queries.targets[:, None]).any(axis=1).mean()), scores


@pytest.fixture(scope="module")
def timed(tmp_path_factory: pytest.TempPathFactory) -> tuple[TwoTowerModel, np.ndarray]:
    return trained(True, tmp_path_factory.mktemp("timed"))


def test_gaps_are_learned_where_they_tell_what_comes_next(
    timed: tuple[TwoTowerModel, np.ndarray], tmp_path: Path
) -> None:
    with_gaps, _ = recall(*timed)
    without, _ = recall(*trained(False, tmp_path))
    assert with_gaps > 0.8
    assert without < 0.65  # one shelf in two, whatever it has learned
    table = timed[0].user_tower.history_encoder.gap_embedding.table.numpy()
    assert table.any() and not table[0].any()  # nothing is learned of an unknown gap


def test_a_request_without_times_is_still_answered_by_its_items(
    timed: tuple[TwoTowerModel, np.ndarray],
) -> None:
    told, with_times = recall(*timed)
    untold, without_times = recall(*timed, told=False)
    assert np.isfinite(without_times).all() and np.abs(with_times - without_times).max() > 0.1
    assert 0.35 < untold < 0.65 < told
