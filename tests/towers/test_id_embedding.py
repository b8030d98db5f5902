from __future__ import annotations

import numpy as np
import pytest

from tfrec_llm.keras_api import keras, tf
from tfrec_llm.testing.layer_checks import check_layer, randomise
from tfrec_llm.towers.id_embedding import IdEmbedding


def layer_of(num_items: int, dropout: float = 0.0, seed: int = 0) -> IdEmbedding:
    layer = IdEmbedding(num_items, 4, dropout, seed)
    layer.build()
    randomise(layer)
    return layer


def test_it_is_a_sound_layer() -> None:
    numbers = np.array([2, -1, 0, 2], np.int32)
    check_layer(IdEmbedding(3, 4, dropout=0.3, seed=5, rate=2.0), {"item_numbers": numbers})


def test_it_starts_at_zero_so_at_the_text_alone() -> None:
    layer = IdEmbedding(3, 4)
    assert not np.any(layer(tf.range(3)))


def test_known_items_get_their_row_and_unknown_ones_zeros() -> None:
    layer = layer_of(3)
    table = layer.table.numpy()
    found = np.asarray(layer(tf.constant([2, -1, 0, -7])))
    np.testing.assert_array_equal(found, [table[2], [0] * 4, table[0], [0] * 4])


def test_a_rate_changes_how_fast_vectors_learn_and_not_what_they_are() -> None:
    vectors = np.arange(12, dtype=np.float32).reshape(3, 4)
    moved = {}
    for rate in (1.0, 8.0):
        layer = IdEmbedding(3, 4, rate=rate)
        layer.build()
        layer.set_vectors(vectors)
        np.testing.assert_allclose(layer(tf.range(3)), vectors, rtol=1e-6)
        with tf.GradientTape() as tape:
            total = tf.reduce_sum(layer(tf.range(3)))
        gradients = tape.gradient(total, [layer.table.value])
        keras.optimizers.Adam(0.01).apply(gradients, [layer.table])
        moved[rate] = np.asarray(layer(tf.range(3))) - vectors
    np.testing.assert_allclose(moved[8.0], 8 * moved[1.0], rtol=1e-3)
    np.testing.assert_allclose(moved[1.0], -0.01, rtol=1e-3)


def test_a_rate_of_nothing_is_refused() -> None:
    with pytest.raises(ValueError, match="rate"):
        IdEmbedding(3, 4, rate=0.0)


def test_outside_training_nothing_is_dropped() -> None:
    layer = layer_of(50, dropout=0.9)
    assert np.all(np.any(layer(tf.range(50)), axis=1))


def test_in_training_whole_items_are_dropped_and_the_rest_is_left_as_it_is() -> None:
    layer = layer_of(400, dropout=0.3)
    found = np.asarray(layer(tf.range(400), training=True))
    dropped = ~np.any(found, axis=1)
    np.testing.assert_array_equal(found[~dropped], layer.table.numpy()[~dropped])
    # 0.3 ± five standard deviations of the mean of 400 draws.
    assert 0.3 - 0.115 < dropped.mean() < 0.3 + 0.115


def test_each_step_drops_other_items_also_in_a_graph() -> None:
    layer = layer_of(100, dropout=0.5)
    step = tf.function(lambda: layer(tf.range(100), training=True))
    assert not np.array_equal(step(), step())


def test_one_seed_drops_the_same_items_twice() -> None:
    first, second, other = (layer_of(100, dropout=0.5, seed=s) for s in (3, 3, 4))
    drawn = [np.asarray(layer(tf.range(100), training=True)) for layer in (first, second, other)]
    np.testing.assert_array_equal(drawn[0], drawn[1])
    assert not np.array_equal(drawn[0], drawn[2])


def test_a_dropped_or_unknown_item_learns_nothing() -> None:
    layer = layer_of(200, dropout=0.5)
    with tf.GradientTape() as tape:
        found = layer(tf.range(-1, 200), training=True)
        loss = tf.reduce_sum(found)
    gradient = tf.convert_to_tensor(tape.gradient(loss, layer.table.value)).numpy()
    dropped = ~np.any(found.numpy()[1:], axis=1)
    assert dropped.any() and not np.any(gradient[dropped])
    np.testing.assert_array_equal(gradient[~dropped], 1.0)


@pytest.mark.parametrize("training", [False, True])
def test_no_numbers_give_no_vectors(training: bool) -> None:
    found = layer_of(3, dropout=0.5)(tf.zeros([0], tf.int32), training=training)
    assert found.shape == (0, 4)
