from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from tfrec_llm.keras_api import keras, tf
from tfrec_llm.testing.layer_checks import check_layer


class Sound(keras.layers.Layer):
    """The mean of the unmasked inputs, times a weight."""

    def __init__(self, power: int = 1, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.power = power

    def build(self, inputs_shape: Any, *_: Any) -> None:
        self.factor = self.add_weight(shape=(), initializer="ones", name="factor")

    def call(self, inputs: Any, keep: Any) -> Any:
        weights = tf.cast(keep, tf.float32)[..., None]
        total = tf.reduce_sum(inputs * weights, axis=1)
        return total / tf.reduce_sum(weights, axis=1) * self.factor.value**self.power

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "power": self.power}


class LosesConfiguration(Sound):
    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "power": 1}


class IgnoresMask(Sound):
    def call(self, inputs: Any, keep: Any) -> Any:
        return tf.reduce_mean(inputs, axis=1) * self.factor.value


class DiffersInGraph(Sound):
    def call(self, inputs: Any, keep: Any) -> Any:
        return super().call(inputs, keep) + (0.0 if tf.executing_eagerly() else 1.0)


class NotFinite(Sound):
    def call(self, inputs: Any, keep: Any) -> Any:
        return super().call(inputs, keep) / 0.0


class GradientNotFinite(Sound):
    def call(self, inputs: Any, keep: Any) -> Any:
        return super().call(inputs, keep) + tf.sqrt(tf.zeros(()) * self.factor.value)


class NoGradient(Sound):
    def call(self, inputs: Any, keep: Any) -> Any:
        return super().call(tf.stop_gradient(inputs), keep)


FAULTY = {
    LosesConfiguration: "restored",
    IgnoresMask: "looks behind keep",
    DiffersInGraph: "in a graph",
    NotFinite: "not finite",
    GradientNotFinite: "gradient for .* not finite",
    NoGradient: "no gradient for inputs",
}
for _layer in (Sound, *FAULTY):
    keras.saving.register_keras_serializable(package="layer_checks_test")(_layer)


def inputs() -> dict[str, np.ndarray]:
    values = np.random.default_rng(0).normal(size=(2, 3, 4)).astype(np.float32)
    return {"inputs": values, "keep": np.array([[False, True, True], [True, True, True]])}


def test_a_sound_layer_passes() -> None:
    check_layer(Sound(power=2), inputs(), {"keep": "inputs"})


@pytest.mark.parametrize(
    ("layer", "message"), FAULTY.items(), ids=lambda v: getattr(v, "__name__", "")
)
def test_a_faulty_layer_is_named_with_its_fault(layer: Any, message: str) -> None:
    with pytest.raises(AssertionError, match=message):
        check_layer(layer(power=2), inputs(), {"keep": "inputs"})


def test_a_layer_that_is_not_registered_is_found() -> None:
    class Unregistered(Sound):
        pass

    with pytest.raises((AssertionError, TypeError)):
        check_layer(Unregistered(), inputs())


def test_a_mask_that_masks_nothing_checks_nothing() -> None:
    everything = {**inputs(), "keep": np.ones((2, 3), bool)}
    with pytest.raises(AssertionError, match="must mask some"):
        check_layer(Sound(), everything, {"keep": "inputs"})
