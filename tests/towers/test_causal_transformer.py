from __future__ import annotations

import warnings

import numpy as np
import pytest

from tfrec_llm.keras_api import tf
from tfrec_llm.testing.layer_checks import check_layer, randomise
from tfrec_llm.towers.causal_transformer import CausalSelfAttention, CausalTransformer


def test_attention_is_a_sound_layer(history: np.ndarray, left_mask: np.ndarray) -> None:
    layer = CausalSelfAttention(num_heads=2, max_length=3, dropout=0.1)
    check_layer(layer, {"inputs": history, "mask": left_mask}, {"mask": "inputs"})


def test_the_transformer_is_a_sound_layer(history: np.ndarray, left_mask: np.ndarray) -> None:
    layer = CausalTransformer(num_layers=2, num_heads=2, max_length=5, dropout=0.1)
    check_layer(layer, {"inputs": history, "mask": left_mask}, {"mask": "inputs"})


def test_a_position_does_not_see_later_ones(history: np.ndarray, left_mask: np.ndarray) -> None:
    layer = CausalTransformer(num_layers=2, num_heads=2, max_length=5)
    layer.build((None, None, 4))
    randomise(layer)
    before = np.asarray(layer(history, left_mask))
    changed = history.copy()
    changed[:, 3:] = np.random.default_rng(1).normal(size=(3, 2, 4))
    after = np.asarray(layer(changed, left_mask))
    np.testing.assert_allclose(after[:, :3], before[:, :3], atol=1e-5)
    assert np.abs(after[:, 3:] - before[:, 3:]).max() > 1e-2


def test_the_distance_bias_counts_from_the_newest_item_back() -> None:
    """A strong bias on age 1 makes a position answer as the one before it."""
    layer = CausalSelfAttention(num_heads=1, max_length=4)
    layer.build((None, None, 2))
    kernel = np.zeros((2, 6), np.float32)
    kernel[:, 4:] = np.eye(2)  # the values are the inputs, all scores are 0
    layer.project.kernel.assign(kernel)
    layer.merge.kernel.assign(np.eye(2))
    layer.distance_bias.assign([[0.0, 50.0, 0.0, 0.0]])
    inputs = np.arange(8, dtype=np.float32).reshape(1, 4, 2)
    found = np.asarray(layer(inputs, np.ones((1, 4), bool)))
    np.testing.assert_allclose(found[0, 1:], inputs[0, :-1], atol=1e-4)
    np.testing.assert_allclose(found[0, 0], inputs[0, 0], atol=1e-4)


def test_a_history_longer_than_the_biases_is_answered() -> None:
    layer = CausalSelfAttention(num_heads=2, max_length=2)
    found = layer(tf.ones((1, 7, 4)), tf.ones((1, 7), tf.bool))
    assert np.isfinite(found).all()


def test_heads_that_do_not_divide_the_width_are_an_error() -> None:
    with pytest.raises(ValueError, match="`num_heads` must divide .* got 3 heads for a width of 4"):
        CausalTransformer(num_heads=3).build((None, None, 4))


def test_a_mask_makes_no_warning(history: np.ndarray, left_mask: np.ndarray) -> None:
    layer = CausalTransformer(num_heads=2, max_length=5)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        layer(history, left_mask)


def test_drop_out_works_in_training_only(history: np.ndarray, left_mask: np.ndarray) -> None:
    layer = CausalTransformer(num_heads=2, max_length=5, dropout=0.5)
    layer.build((None, None, 4))
    randomise(layer)
    calm = [np.asarray(layer(history, left_mask)) for _ in range(2)]
    shaken = [np.asarray(layer(history, left_mask, training=True)) for _ in range(2)]
    np.testing.assert_array_equal(calm[0], calm[1])
    assert not np.allclose(shaken[0], shaken[1])
