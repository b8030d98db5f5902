from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from tfrec_llm.errors import UsageError
from tfrec_llm.keras_api import keras
from tfrec_llm.models.two_tower_model import TwoTowerModel
from tfrec_llm.towers.item_tower import ItemTower
from tfrec_llm.towers.starts import factorise_clicks
from tfrec_llm.towers.user_tower import UserTower
from tfrec_llm.trainer.start_from_run import StartFromRun

DIM, FEATURES = 4, 6


def make_model(num_items: int, *, seed: int = 1, features: int = FEATURES, **user: Any) -> Any:
    keras.utils.set_random_seed(seed)
    dim = user.pop("dim", DIM)
    options = {"history_kind": "gru", "max_history": 4} | user
    model = TwoTowerModel(ItemTower(num_items, dim), UserTower(**options), feature_dim=features)
    generator = np.random.default_rng(seed)
    for variable in model.variables:
        if "seed_generator" not in variable.path:
            variable.assign(generator.normal(size=variable.shape))
    return model


def test_text_part_and_user_tower_come_over_and_ids_and_temperature_stay() -> None:
    other, model = make_model(9), make_model(3, seed=2)
    table = model.item_tower.id_embedding.table.numpy()
    temperature = [np.array(v.value) for v in model.task.variables]
    StartFromRun(other, "same", "runs/other").apply(model, "same")
    features = np.random.default_rng(0).normal(size=(3, FEATURES)).astype(np.float32)
    np.testing.assert_array_equal(
        model.item_tower.embed_text(features), other.item_tower.embed_text(features)
    )
    for ours, theirs in zip(model.user_tower.variables, other.user_tower.variables, strict=True):
        if "seed_generator" not in ours.path:
            np.testing.assert_array_equal(ours.value, theirs.value)
    np.testing.assert_array_equal(model.item_tower.id_embedding.table.numpy(), table)
    for ours, before in zip(model.task.variables, temperature, strict=True):
        np.testing.assert_array_equal(ours.value, before)


def test_another_encoder_is_refused_and_nothing_is_set() -> None:
    other, model = make_model(9), make_model(3, seed=2)
    before = [np.array(v.value) for v in model.variables]
    with pytest.raises(UsageError, match=r"start_from: runs/other .* another encoder \(theirs…"):
        StartFromRun(other, "theirs", "runs/other").apply(model, "ours")
    for variable, value in zip(model.variables, before, strict=True):
        np.testing.assert_array_equal(variable.value, value)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"dim": 8}, "embedding_dim is 4 there and 8 here"),
        ({"features": 5}, "the width of the features is 6 there and 5 here"),
        ({"history_kind": "mean"}, "history_kind is gru there and mean here"),
        ({"max_history": 5}, "max_history is 4 there and 5 here"),
    ],
)
def test_other_towers_are_refused_by_name(change: dict[str, Any], words: str) -> None:
    with pytest.raises(UsageError, match=words):
        StartFromRun(make_model(9), "same", "runs/other").apply(make_model(3, **change), "same")


def test_items_without_clicks_start_at_their_text_and_others_move_to_their_clicks() -> None:
    other = make_model(9)
    features = np.random.default_rng(0).normal(size=(8, FEATURES)).astype(np.float32)
    # Two groups of three that are read together, and two items that nobody read.
    factors = factorise_clicks(
        [np.array(h) for h in ([0, 1, 2], [2, 0, 1], [3, 4, 5], [5, 3, 4])], 8, DIM
    )
    transfer = StartFromRun(other, "same", "runs/other")
    start = transfer.item_tower_start(factors, features, text_share=0.0)
    assert not start.id_table[6:].any()
    model = make_model(8, seed=2)
    transfer.apply(model, "same")
    model.set_start(start)
    items = model.embed_corpus(features)
    texts = np.asarray(other.item_tower.embed_text(features))
    np.testing.assert_allclose(
        items[6:], texts[6:] / np.linalg.norm(texts[6:], axis=1, keepdims=True), atol=1e-5
    )
    likeness = items @ items.T
    assert likeness[0, 1] > 0.9 and likeness[3, 4] > 0.9 and likeness[0, 3] < 0.5


def test_a_whole_text_share_leaves_every_item_in_the_direction_of_its_text() -> None:
    other, model = make_model(9), make_model(3, seed=2)
    features = np.random.default_rng(0).normal(size=(3, FEATURES)).astype(np.float32)
    transfer = StartFromRun(other, "same", "runs/other")
    transfer.apply(model, "same")
    factors = factorise_clicks([np.array([0, 1])], 3, DIM)
    model.set_start(transfer.item_tower_start(factors, features, text_share=1.0))
    texts = np.asarray(other.item_tower.embed_text(features))
    texts = texts / np.linalg.norm(texts, axis=1, keepdims=True)
    np.testing.assert_allclose(model.embed_corpus(features), texts, atol=1e-5)


def test_clicks_are_turned_to_where_the_texts_lie() -> None:
    other = make_model(30)
    features = np.random.default_rng(0).normal(size=(30, FEATURES)).astype(np.float32)
    generator = np.random.default_rng(1)
    factors = factorise_clicks([generator.permutation(30)[:6] for _ in range(40)], 30, DIM)
    start = StartFromRun(other, "same", "x").item_tower_start(factors, features, text_share=0.0)
    texts = np.asarray(other.item_tower.embed_text(features))
    clicks = factors.vectors * factors.values**0.25
    clicks /= np.linalg.norm(clicks, axis=1, keepdims=True)
    ours, plain = texts + start.id_table, clicks
    np.testing.assert_allclose(  # a rotation: likeness by clicks is as it was
        (ours @ ours.T) / np.linalg.norm(ours[0]) ** 2, plain @ plain.T, atol=1e-4
    )

    def fit(rows: np.ndarray) -> float:
        return float((rows / np.linalg.norm(rows, axis=1, keepdims=True) * texts).sum())

    turned = np.linalg.qr(generator.normal(size=(DIM, DIM)))[0]
    assert fit(ours) > fit(plain) and fit(ours) > fit(plain @ turned)


def test_without_any_click_all_ids_are_zero() -> None:
    factors = factorise_clicks([], 3, DIM)
    features = np.ones((3, FEATURES), np.float32)
    start = StartFromRun(make_model(9), "same", "x").item_tower_start(factors, features)
    assert not start.id_table.any()
