from __future__ import annotations

import numpy as np

from tfrec_llm.keras_api import tf
from tfrec_llm.testing.layer_checks import check_layer, randomise
from tfrec_llm.towers.gap_embedding import GapEmbedding

GAPS = np.array([[0, 31, 4], [0, 0, 4]], np.int32)


def test_it_is_a_sound_layer() -> None:
    check_layer(GapEmbedding(3), {"gaps": GAPS})


def test_it_starts_at_zero() -> None:
    np.testing.assert_array_equal(GapEmbedding(3)(GAPS), np.zeros((2, 3, 3)))


def test_an_unknown_gap_is_zero_whatever_was_learned() -> None:
    layer = GapEmbedding(3)
    layer.build()
    randomise(layer)
    found = np.asarray(layer(GAPS))
    np.testing.assert_array_equal(found[GAPS == 0], 0.0)
    assert np.abs(found[GAPS > 0]).min() > 0.0
    np.testing.assert_array_equal(found[0, 2], found[1, 2])


def test_an_unknown_gap_learns_nothing() -> None:
    layer = GapEmbedding(2)
    with tf.GradientTape() as tape:
        loss = tf.reduce_sum(layer(GAPS))
    gradient = np.asarray(tf.convert_to_tensor(tape.gradient(loss, layer.table.value)))
    assert np.flatnonzero(gradient.any(axis=1)).tolist() == [4, 31]
