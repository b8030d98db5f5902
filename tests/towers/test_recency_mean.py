from __future__ import annotations

import numpy as np
import pytest

from tfrec_llm.keras_api import tf
from tfrec_llm.testing.layer_checks import check_layer
from tfrec_llm.towers.recency_mean import RecencyMean


def test_it_is_a_sound_layer(history: np.ndarray, left_mask: np.ndarray) -> None:
    inputs = {"history": history, "history_mask": left_mask}
    check_layer(RecencyMean(5, decay=0.6), inputs, {"history_mask": "history"})


def test_numbers_a_person_can_add_up() -> None:
    """Weights 1, 1/2, 1/4 from the newest item back: (1, 0), (0, 1), (1, 0) sum to (1.25, 0.5)."""
    history = tf.constant([[[1.0, 0.0], [0.0, 1.0], [1.0, 0.0]]])
    found = np.asarray(RecencyMean(3, decay=0.5)(history, tf.ones((1, 3), tf.bool)))[0]
    wanted = np.array([[1.0, 0.0], [0.5, 1.0], [1.25, 0.5]])
    wanted /= np.linalg.norm(wanted, axis=1, keepdims=True)
    np.testing.assert_allclose(found, wanted, atol=1e-6)


def test_items_older_than_the_longest_history_do_not_count() -> None:
    history = tf.constant([[[0.0, 1.0], [1.0, 0.0], [1.0, 0.0]]])
    found = np.asarray(RecencyMean(2)(history, tf.ones((1, 3), tf.bool)))[0, 2]
    np.testing.assert_allclose(found, [1.0, 0.0], atol=1e-6)


def test_a_history_of_padding_alone_is_zero() -> None:
    found = RecencyMean(3)(tf.ones((2, 3, 4)), tf.zeros((2, 3), tf.bool))
    np.testing.assert_array_equal(found, 0.0)


def test_the_weights_can_be_learned(history: np.ndarray, left_mask: np.ndarray) -> None:
    layer = RecencyMean(5)
    with tf.GradientTape() as tape:
        loss = tf.reduce_sum(layer(history, left_mask)[:, -1, 0])
    gradient = tf.convert_to_tensor(tape.gradient(loss, layer.log_weights.value))
    assert np.abs(gradient).max() > 1e-4


def test_what_stands_before_a_gap_is_weighted_by_its_factor() -> None:
    """Decay 1/2, the gap before the last item a factor of 1/4: weights 1/16, 1/8 and 1."""
    layer = RecencyMean(3, decay=0.5, time_gaps=True)
    layer.build()
    layer.log_gap_weights.assign(np.log(0.25) * (np.arange(32) == 9))
    history = tf.eye(3)[None]
    found = np.asarray(layer(history, tf.ones((1, 3), tf.bool), tf.constant([[0, 5, 9]])))[0]
    wanted = np.array([[1.0, 0.0, 0.0], [0.5, 1.0, 0.0], [1 / 16, 1 / 8, 1.0]])
    wanted /= np.linalg.norm(wanted, axis=1, keepdims=True)
    np.testing.assert_allclose(found, wanted, atol=1e-6)


def test_gaps_count_for_nothing_at_the_start(history: np.ndarray, left_mask: np.ndarray) -> None:
    gaps = np.where(left_mask, np.arange(5), 0)
    found = RecencyMean(5, time_gaps=True)(history, left_mask, gaps)
    np.testing.assert_allclose(found, RecencyMean(5)(history, left_mask), atol=1e-7)


@pytest.mark.parametrize("log_weight", [-60.0, 60.0])
def test_great_and_small_factors_of_many_gaps_stay_finite(log_weight: float) -> None:
    layer = RecencyMean(40, time_gaps=True)
    layer.build()
    layer.log_gap_weights.assign(np.full(32, log_weight))
    history = np.random.default_rng(0).normal(size=(1, 40, 4)).astype(np.float32)
    found = layer(history, tf.ones((1, 40), tf.bool), tf.ones((1, 40), tf.int32))
    np.testing.assert_allclose(np.linalg.norm(found, axis=-1), 1.0, atol=1e-5)
