from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tfrec_llm.fusion.sif_pooling import SifPooling
from tfrec_llm.keras_api import keras, tf
from tfrec_llm.testing.layer_checks import check_layer


def test_numbers_a_person_can_add_up() -> None:
    """With a = 1/4: p = 3/4, 1/4 and 0 weigh 1/4, 1/2 and 1; (4/4 + 8/2 + 6) / 3 = 11/3."""
    layer = SifPooling(smoothing=0.25)
    layer.adapt(np.array([3, 1, 0]))
    tokens = np.array([[[4.0], [8.0], [6.0], [99.0]]], np.float32)
    found = np.asarray(layer(tokens, np.array([[1, 1, 1, 0]]), np.array([[0, 1, 2, 0]])))
    np.testing.assert_allclose(found, [[11 / 3]], rtol=1e-6)


def test_an_even_table_is_the_mean_but_for_its_length(
    tokens: np.ndarray, padding_mask: np.ndarray, token_ids: np.ndarray
) -> None:
    layer = SifPooling()
    layer.adapt(np.ones(4))
    found = np.asarray(layer(tokens, padding_mask, token_ids))
    mean = tokens[0, :3].mean(axis=0)
    np.testing.assert_allclose(found[0], mean * 1e-3 / (1e-3 + 0.25), rtol=1e-5)


def test_before_it_is_adapted_it_is_the_mean(
    tokens: np.ndarray, padding_mask: np.ndarray, token_ids: np.ndarray
) -> None:
    found = np.asarray(SifPooling(4)(tokens, padding_mask, token_ids))
    np.testing.assert_allclose(found[0], tokens[0, :3].mean(axis=0), rtol=1e-5)


def test_it_can_be_adapted_again(tokens: np.ndarray, padding_mask: np.ndarray) -> None:
    layer = SifPooling(4)
    ids = np.zeros((4, 5), np.int32)
    for share in (0.25, 1.0):
        layer.adapt(np.array([share, 1.0 - share, 0.0, 0.0]))
        found = np.asarray(layer(tokens, padding_mask, ids))
        mean = tokens[0, :3].mean(axis=0)
        np.testing.assert_allclose(found[0], mean * 1e-3 / (1e-3 + share), rtol=1e-5)


def test_a_graph_that_was_traced_before_follows_the_table() -> None:
    layer = SifPooling(2, smoothing=1.0)
    arguments = tf.ones((1, 1, 1)), tf.ones((1, 1)), tf.zeros((1, 1), tf.int32)
    graph = tf.function(layer)
    assert graph(*arguments).numpy().tolist() == [[1.0]]
    layer.adapt(np.array([5, 0]))
    assert graph(*arguments).numpy().tolist() == [[0.5]]


def test_the_table_is_the_one_weight_and_is_there_before_the_first_call() -> None:
    layer = SifPooling()
    layer.build_table(3)
    weights = [id(weight) for weight in layer.weights]
    layer(tf.ones((1, 2, 4)), tf.ones((1, 2)), tf.zeros((1, 2), tf.int32))
    assert [id(weight) for weight in layer.weights] == weights and len(weights) == 1
    assert not layer.trainable_weights
    layer.adapt(np.array([1, 1, 2]))
    np.testing.assert_array_equal(layer.get_weights()[0], np.float32([0.25, 0.25, 0.5]))


def test_the_table_survives_saving_as_a_plain_weight(
    tokens: np.ndarray, padding_mask: np.ndarray, token_ids: np.ndarray, tmp_path: Path
) -> None:
    def model_of(layer: SifPooling) -> keras.Model:
        inputs = [keras.Input((None, 6)), *(keras.Input((None,), dtype="int32") for _ in range(2))]
        return keras.Model(inputs, layer(*inputs))

    layer = SifPooling()
    layer.adapt(np.array([9.0, 5.0, 1.0, 0.0]))
    model_of(layer).save_weights(tmp_path / "w.weights.h5")
    other = model_of(SifPooling(4))
    other.load_weights(tmp_path / "w.weights.h5")
    found = np.asarray(other([tokens, padding_mask, token_ids]))
    np.testing.assert_array_equal(found, layer(tokens, padding_mask, token_ids))


def test_the_common_direction_of_all_texts_is_taken_off() -> None:
    layer = SifPooling(1, remove_common_direction=True)
    vectors = np.array([[5.0, 1.0], [5.0, -1.0], [-5.0, 0.0]], np.float32)
    arguments = vectors[:, None, :], np.ones((3, 1)), np.zeros((3, 1), np.int32)
    np.testing.assert_array_equal(layer(*arguments), vectors)  # none is known yet
    layer.adapt_common_direction(vectors)
    assert abs(layer.common_direction.numpy()[0]) == pytest.approx(1.0)
    np.testing.assert_allclose(layer(*arguments), vectors * [0.0, 1.0], atol=1e-6)


def test_what_is_left_has_nothing_along_the_common_direction(
    tokens: np.ndarray, padding_mask: np.ndarray, token_ids: np.ndarray
) -> None:
    layer = SifPooling(4, remove_common_direction=True)
    layer.adapt_common_direction(np.asarray(layer(tokens, padding_mask, token_ids)))
    found = np.asarray(layer(tokens, padding_mask, token_ids))
    np.testing.assert_allclose(found @ layer.common_direction.numpy(), 0.0, atol=1e-6)
    _, _, directions = np.linalg.svd(np.asarray(SifPooling(4)(tokens, padding_mask, token_ids)))
    assert abs(directions[0] @ layer.common_direction.numpy()) == pytest.approx(1.0, abs=1e-5)


def test_it_is_a_sound_layer_with_a_common_direction(
    tokens: np.ndarray, padding_mask: np.ndarray, token_ids: np.ndarray
) -> None:
    inputs = dict(token_embeddings=tokens, padding_mask=padding_mask, token_ids=token_ids)
    layer = SifPooling(4, 0.01, remove_common_direction=True)
    check_layer(layer, inputs, {"padding_mask": "token_embeddings"})


@pytest.mark.parametrize(
    ("counts", "message"),
    [
        ([0, 0], "all zero"),
        ([1, -1], "from 0 up"),
        ([1, np.nan], "finite"),
        ([[1, 2]], r"shape \(1, 2\)"),
        ([1, 1, 1], "holds 2 tokens, got 3"),
    ],
)
def test_counts_that_are_none_are_refused(counts: list[float], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        SifPooling().adapt(counts) if message != "holds 2 tokens, got 3" else _two().adapt(counts)


def _two() -> SifPooling:
    layer = SifPooling()
    layer.build_table(2)
    return layer


def test_a_call_without_a_table_says_what_to_do() -> None:
    with pytest.raises(ValueError, match="`build_table` or `adapt` first"):
        SifPooling()(tf.ones((1, 1, 2)), tf.ones((1, 1)), tf.zeros((1, 1), tf.int32))


def test_arguments_out_of_bounds_are_refused() -> None:
    with pytest.raises(ValueError, match="`smoothing` must be above 0"):
        SifPooling(smoothing=0.0)
    with pytest.raises(ValueError, match="`vocabulary_size` must be at least 1"):
        SifPooling().build_table(0)
    with pytest.raises(ValueError, match="remove_common_direction=True"):
        SifPooling(4).adapt_common_direction(np.ones((2, 2)))
