"""What all poolings have in common."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tfrec_llm.fusion.mean_pooling import MeanPooling
from tfrec_llm.fusion.poolings import FIXED_POOLINGS, LEARNED_POOLINGS, make_pooling
from tfrec_llm.keras_api import keras, tf
from tfrec_llm.testing.layer_checks import check_layer, randomise

NAMES = (*FIXED_POOLINGS, *LEARNED_POOLINGS)
IDS = np.array([[0, 1, 2, 0, 0], [3, 0, 3, 2, 0], [0, 0, 0, 0, 0], [0, 0, 1, 1, 3]], np.int32)


def made(name: str, random: bool = False, dim: int = 6) -> Any:
    """A pooling with weights that are not those it starts from."""
    layer = make_pooling(name, heads=2)
    if name == "sif":
        layer.adapt(np.array([0.0, 1.0, 30.0, 2.0]))
    if random:
        layer.build((None, None, dim))
        randomise(layer)
    return layer


def pooled(layer: Any, tokens: Any, mask: Any, ids: Any = IDS) -> np.ndarray:
    more = (ids,) if type(layer).__name__ == "SifPooling" else ()
    return np.asarray(layer(tokens, mask, *more))


@pytest.mark.parametrize("name", NAMES)
def test_every_pooling_is_a_sound_layer(
    name: str, tokens: np.ndarray, padding_mask: np.ndarray
) -> None:
    inputs = {"token_embeddings": tokens, "padding_mask": padding_mask}
    if name == "sif":
        inputs["token_ids"] = IDS
    check_layer(made(name), inputs, {"padding_mask": "token_embeddings"})


@pytest.mark.parametrize("name", LEARNED_POOLINGS)
def test_what_is_learned_starts_as_the_mean(
    name: str, tokens: np.ndarray, padding_mask: np.ndarray
) -> None:
    expected = pooled(MeanPooling(), tokens, padding_mask)
    np.testing.assert_allclose(pooled(made(name), tokens, padding_mask), expected, atol=1e-6)


@pytest.mark.parametrize("name", LEARNED_POOLINGS)
def test_what_is_learned_leaves_the_mean_in_one_step(
    name: str, tokens: np.ndarray, padding_mask: np.ndarray
) -> None:
    layer = made(name)
    before = pooled(layer, tokens, padding_mask)
    with tf.GradientTape() as tape:
        loss = tf.reduce_sum(layer(tokens, padding_mask) ** 2)
    variables = [v.value for v in layer.trainable_variables]
    for variable, gradient in zip(variables, tape.gradient(loss, variables), strict=True):
        variable.assign_sub(0.1 * gradient)
    assert np.abs(pooled(layer, tokens, padding_mask) - before).max() > 1e-3


@pytest.mark.parametrize("name", NAMES)
def test_nan_at_padding_neither_shows_nor_spreads_to_gradients(
    name: str, tokens: np.ndarray, padding_mask: np.ndarray
) -> None:
    layer = made(name, random=True)
    expected = pooled(layer, tokens, padding_mask)
    ids = np.where(padding_mask == 1, IDS, -7)
    tokens[padding_mask == 0] = np.nan
    np.testing.assert_array_equal(pooled(layer, tokens, padding_mask, ids), expected)
    more = (ids,) if name == "sif" else ()
    with tf.GradientTape() as tape:
        loss = tf.reduce_sum(layer(tokens, padding_mask, *more))
    variables = [v.value for v in layer.trainable_variables]
    assert all(np.isfinite(g).all() for g in tape.gradient(loss, variables))


@pytest.mark.parametrize("name", NAMES)
def test_a_text_of_no_tokens_gives_zeros(
    name: str, tokens: np.ndarray, padding_mask: np.ndarray
) -> None:
    found = pooled(made(name, random=True), tokens, padding_mask)
    np.testing.assert_array_equal(found[2], 0.0)
    assert np.abs(found[[0, 1, 3]]).min() > 0.0


@pytest.mark.parametrize("name", NAMES)
def test_no_rows_and_no_width(name: str) -> None:
    layer = made(name, random=True)
    no_rows, no_width = np.zeros((0, 3, 6), np.float32), np.zeros((2, 0, 6), np.float32)
    assert pooled(layer, no_rows, np.zeros((0, 3)), np.zeros((0, 3))).shape == (0, 6)
    found = pooled(layer, no_width, np.zeros((2, 0)), np.zeros((2, 0)))
    np.testing.assert_array_equal(found, np.zeros((2, 6)))


@pytest.mark.parametrize("name", NAMES)
def test_the_length_of_the_padding_does_not_matter(
    name: str, tokens: np.ndarray, padding_mask: np.ndarray
) -> None:
    layer = made(name, random=True)
    more = [(0, 0), (0, 4)]
    wider = np.pad(tokens, [*more, (0, 0)]), np.pad(padding_mask, more), np.pad(IDS, more)
    expected = pooled(layer, tokens, padding_mask)
    np.testing.assert_allclose(pooled(layer, *wider), expected, atol=1e-6)


@pytest.mark.parametrize("name", NAMES)
def test_answers_are_float32_under_a_bfloat16_policy(name: str, padding_mask: np.ndarray) -> None:
    tokens = tf.fill((4, 5, 6), 1.001)
    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        found = pooled(made(name), tokens, padding_mask)
    finally:
        keras.config.set_dtype_policy("float32")
    assert found.dtype == np.float32
    factor = found[1, 0] if name == "sif" else np.float32(1.001)  # 1.001 is 1.0 in bfloat16
    np.testing.assert_allclose(found[1], factor, rtol=1e-6)


@pytest.mark.parametrize("name", NAMES)
def test_a_functional_model_can_be_saved_and_loaded(
    name: str, tokens: np.ndarray, padding_mask: np.ndarray, tmp_path: Path
) -> None:
    layer = made(name, random=True)
    inputs = [keras.Input((None, 6)), keras.Input((None,), dtype="int32")]
    arrays = [tokens, padding_mask]
    if name == "sif":
        inputs.append(keras.Input((None,), dtype="int32"))
        arrays.append(IDS)
    model = keras.Model(inputs, layer(*inputs))
    assert model.output.dtype == "float32" and model.output.shape == (None, 6)
    model.save(tmp_path / "model.keras")
    restored = keras.saving.load_model(tmp_path / "model.keras")
    np.testing.assert_array_equal(np.asarray(restored(arrays)), pooled(layer, tokens, padding_mask))


@pytest.mark.parametrize("name", NAMES)
def test_a_pooling_says_its_shape_before_it_is_built(name: str) -> None:
    assert make_pooling(name).compute_output_shape((None, None, 8)) == (None, 8)


@pytest.mark.parametrize("name", LEARNED_POOLINGS)
def test_a_pooling_inside_a_coarser_layer_keeps_its_weights_in_float32(name: str) -> None:
    class Outer(keras.layers.Layer):
        def __init__(self) -> None:
            super().__init__(dtype="mixed_bfloat16")
            self.pool = made(name, random=True, dim=2)

        def call(self, values: Any) -> Any:
            return self.pool(values, tf.ones(tf.shape(values)[:2]))

    outer = Outer()
    values = tf.constant([[[1.0, 2.0], [0.5, 0.25]]])
    np.testing.assert_array_equal(outer(values), pooled(outer.pool, values, tf.ones((1, 2))))


def test_an_unknown_name_is_refused() -> None:
    with pytest.raises(ValueError, match="must be one of mean, cls, .*, gru, got 'median'"):
        make_pooling("median")


def test_the_names_are_those_of_the_configuration() -> None:
    from tfrec_llm.config.run_config import EncoderSection

    schema = json.dumps(EncoderSection.model_json_schema()["properties"]["pooling"]["enum"])
    assert set(json.loads(schema)) == {*NAMES, "layers"}
