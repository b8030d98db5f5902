from __future__ import annotations

import numpy as np

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
