from __future__ import annotations

import numpy as np

from tfrec_llm.testing.layer_checks import check_layer, randomise
from tfrec_llm.towers.newest_item_attention import NewestItemAttention


def test_it_is_a_sound_layer(history: np.ndarray, left_mask: np.ndarray) -> None:
    inputs = {"history": history, "history_mask": left_mask}
    check_layer(NewestItemAttention(dropout=0.2), inputs, {"history_mask": "history"})


def test_a_history_of_one_item_gives_that_item(history: np.ndarray, left_mask: np.ndarray) -> None:
    found = np.asarray(NewestItemAttention()(history, left_mask))
    np.testing.assert_allclose(found[2, 4], history[2, 4], atol=1e-6)


def test_items_like_the_newest_weigh_more() -> None:
    layer = NewestItemAttention()
    layer.build((None, None, 2))
    layer.query.kernel.assign(100 * np.eye(2))
    layer.key.kernel.assign(np.eye(2))
    history = np.array([[[0.0, 1.0], [1.0, 0.0], [0.0, 1.0]]], np.float32)
    found = np.asarray(layer(history, np.ones((1, 3), bool)))
    np.testing.assert_allclose(found[0, 2], [0.0, 1.0], atol=1e-4)


def test_a_loop_over_positions_says_the_same(history: np.ndarray, left_mask: np.ndarray) -> None:
    layer = NewestItemAttention()
    layer.build((None, None, 4))
    randomise(layer)
    found = np.asarray(layer(history, left_mask))
    query, key = (d.kernel.numpy() for d in (layer.query, layer.key))
    query_bias, key_bias = (d.bias.numpy() for d in (layer.query, layer.key))
    for row, start in enumerate([0, 2, 4]):
        for newest in range(start, 5):
            seen = history[row, start : newest + 1]
            asked = history[row, newest] @ query + query_bias
            scores = [float(asked @ (item @ key + key_bias)) / 2.0 for item in seen]
            weights = np.exp(scores) / np.exp(scores).sum()
            np.testing.assert_allclose(found[row, newest], weights @ seen, atol=1e-5)
