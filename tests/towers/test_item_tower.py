from __future__ import annotations

import numpy as np

from tfrec_llm.keras_api import tf
from tfrec_llm.testing.layer_checks import check_layer, randomise
from tfrec_llm.towers.item_tower import ItemTower

FEATURES = np.random.default_rng(1).normal(size=(6, 8)).astype(np.float32)


def tower(num_items: int = 6, **options: float) -> ItemTower:
    made = ItemTower(num_items, embedding_dim=4, **options)
    made.build((None, 8))
    randomise(made)
    return made


def text_alone(made: ItemTower) -> np.ndarray:
    text = np.asarray(made.embed_text(FEATURES))
    return text / np.linalg.norm(text, axis=1, keepdims=True)


def test_it_is_a_sound_layer() -> None:
    numbers = np.array([5, 0, -1, 2, 2, -1], np.int32)
    made = ItemTower(6, embedding_dim=4, item_id_dropout=0.2, dropout=0.1, seed=3)
    check_layer(made, {"text_features": FEATURES, "item_numbers": numbers})


def test_rows_have_length_one() -> None:
    np.testing.assert_allclose(np.linalg.norm(tower()(FEATURES, tf.range(6)), axis=1), 1, atol=1e-5)


def test_a_known_item_is_its_text_part_plus_its_id_part() -> None:
    made = tower()
    both = np.asarray(made.embed_text(FEATURES)) + made.id_embedding.table.numpy()
    wanted = both / np.linalg.norm(both, axis=1, keepdims=True)
    np.testing.assert_allclose(made(FEATURES, tf.range(6)), wanted, atol=1e-5)


def test_an_unknown_item_is_its_text_alone() -> None:
    made = tower()
    found = made(FEATURES, tf.fill([6], -1))
    np.testing.assert_allclose(found, text_alone(made), atol=1e-5)


def test_a_dropped_id_leaves_the_text_alone() -> None:
    made = tower(item_id_dropout=0.5, dropout=0.0)
    whole, text = np.asarray(made(FEATURES, tf.range(6))), text_alone(made)
    dropped = 0
    for _ in range(5):
        found = np.asarray(made(FEATURES, tf.range(6), training=True))
        is_text = np.abs(found - text).max(axis=1) < 1e-5
        is_whole = np.abs(found - whole).max(axis=1) < 1e-5
        assert np.all(is_text | is_whole)
        dropped += is_text.sum()
    assert 0 < dropped < 30


def test_a_tower_without_ids_takes_any_item_number() -> None:
    made = tower(num_items=0)
    assert made.id_embedding is None
    np.testing.assert_allclose(made(FEATURES, tf.range(6) + 90), text_alone(made), atol=1e-5)


def test_an_item_of_zeros_only_stays_finite() -> None:
    made = ItemTower(2, embedding_dim=4)
    found = np.asarray(made(np.zeros((2, 8), np.float32), tf.range(2)))
    np.testing.assert_array_equal(found, 0.0)
