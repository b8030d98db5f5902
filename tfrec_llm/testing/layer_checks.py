"""One test that every layer of the package passes."""

from __future__ import annotations

import copy
import json
from typing import Any

import numpy as np

from tfrec_llm.keras_api import keras, tf


def check_layer(layer: Any, inputs: dict[str, Any], masks: dict[str, str] | None = None) -> None:
    """Checks what every layer owes its user; raises AssertionError with what is missing.

    The configuration survives JSON and gives the same layer again; the layer is registered with
    Keras, builds itself from its inputs, answers in a graph of unknown batch and length as it does
    eagerly, gives finite float32 values and finite gradients, and never looks behind a mask. It
    is checked with random weights, since a layer that starts at zero could hide anything.

    Args:
        layer: a Keras layer that was not called yet.
        inputs: call argument → array, the first axis is the batch.
        masks: boolean call argument → the call argument that it masks. True slots count.

    Example:
        >>> check_layer(keras.layers.Dense(2), {"inputs": np.ones((3, 4), np.float32)})
    """
    tensors = {name: tf.constant(value) for name, value in inputs.items()}
    layer(**tensors)
    assert layer.built, f"{layer.name} is not built by a call"
    randomise(layer)
    answer = np.asarray(layer(**tensors))
    assert answer.dtype == np.float32, f"{layer.name} answers in {answer.dtype}, not float32"
    assert np.isfinite(answer).all(), f"{layer.name} gives values that are not finite"
    _check_configuration(layer, tensors, answer)
    _check_graph(layer, tensors, answer)
    _check_gradients(layer, tensors)
    for mask, masked in (masks or {}).items():
        _check_mask(layer, inputs, mask, masked)


def randomise(layer: Any, seed: int = 0, scale: float = 0.5) -> None:
    """Sets every trainable weight of a layer or model to seeded normal numbers.

    Args:
        layer: a built Keras layer or model.
        seed: int, of the numbers. Defaults to 0.
        scale: float > 0, their standard deviation. Defaults to 0.5.

    Example:
        >>> layer = keras.layers.Dense(1)
        >>> layer.build((None, 1))
        >>> randomise(layer)
        >>> bool(layer.bias.numpy()[0] != 0.0)
        True
    """
    generator = np.random.default_rng(seed)
    for weight in layer.trainable_variables:
        weight.assign(generator.normal(0.0, scale, weight.shape).astype(np.float32))


def _check_configuration(layer: Any, tensors: dict[str, Any], answer: np.ndarray) -> None:
    config = json.loads(json.dumps(layer.get_config()))
    untouched = copy.deepcopy(config)
    twin = type(layer).from_config(config)
    assert config == untouched, f"{layer.name} changes the configuration it is made from"
    assert twin.get_config() == config, f"{layer.name} loses a part of its configuration"
    text = json.dumps(keras.saving.serialize_keras_object(layer))
    stored = keras.saving.deserialize_keras_object(json.loads(text))
    assert type(stored) is type(layer), f"{layer.name} is not registered with Keras"
    for other in (twin, stored):
        other(**tensors)
        other.set_weights(layer.get_weights())
        np.testing.assert_allclose(
            other(**tensors), answer, atol=1e-6, err_msg=f"{layer.name} restored"
        )


def _check_graph(layer: Any, tensors: dict[str, Any], answer: np.ndarray) -> None:
    names = sorted(tensors)

    @tf.function(input_signature=[_open_shape(tensors[name]) for name in names])
    def in_graph(*values: Any) -> Any:
        return layer(**dict(zip(names, values, strict=True)))

    found = in_graph(*(tensors[name] for name in names))
    np.testing.assert_allclose(found, answer, atol=1e-5, err_msg=f"{layer.name} in a graph")


def _open_shape(value: Any) -> Any:
    """Only the width of vectors is known beforehand."""
    shape: list[int | None] = [None] * value.ndim
    if value.ndim > 1 and value.dtype.is_floating:
        shape[-1] = value.shape[-1]
    return tf.TensorSpec(shape, value.dtype)


def _check_gradients(layer: Any, tensors: dict[str, Any]) -> None:
    floats = {name: value for name, value in tensors.items() if value.dtype.is_floating}
    with tf.GradientTape() as tape:
        tape.watch(list(floats.values()))
        answer = layer(**tensors)
        direction = tf.random.stateless_normal(tf.shape(answer), seed=(1, 2))
        loss = tf.reduce_sum(answer * direction)
    weights = {v.path: v.value for v in layer.trainable_variables}
    sources = {**weights, **floats}
    for name, gradient in tape.gradient(loss, sources).items():
        assert gradient is not None, f"{layer.name} gives no gradient for {name}"
        finite = np.isfinite(tf.convert_to_tensor(gradient)).all()
        assert finite, f"{layer.name} gives a gradient for {name} that is not finite"


def _check_mask(layer: Any, inputs: dict[str, Any], mask: str, masked: str) -> None:
    keep = np.asarray(inputs[mask], dtype=bool)
    assert keep.any() and not keep.all(), f"the mask {mask} must mask some slots, and not all"
    for seed in range(2):
        values = np.array(inputs[masked])
        values[~keep] = np.random.default_rng(seed).normal(0.0, 9.0, values[~keep].shape)
        first = np.asarray(layer(**inputs))
        second = np.asarray(layer(**{**inputs, masked: values}))
        if keep.ndim > 1 and first.shape[: keep.ndim] == keep.shape:
            # A position that is itself masked may answer anything.
            first, second = first[keep], second[keep]
        np.testing.assert_allclose(
            second, first, atol=1e-5, err_msg=f"{layer.name} looks behind {mask}"
        )
