from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from tfrec_llm.keras_api import keras, tf
from tfrec_llm.trainer.optimizer import FusedAdamW, make_optimizer

RATES = {"learning_rate": 0.1, "encoder_learning_rate": 0.01, "layer_decay": 0.5}


def three() -> list[Any]:
    return [keras.Variable(1.0, name=name) for name in ("tower", "top", "below")]


def moved(optimizer: Any, variables: list[Any], gradient: float = 1.0, steps: int = 2) -> Any:
    """The first step of the warm-up has the rate 0, the second the highest of a short one."""
    before = np.array([float(v) for v in variables])
    for _ in range(steps):
        optimizer.apply([tf.constant(gradient)] * len(variables), variables)
    return before - np.array([float(v) for v in variables])


def test_a_layer_has_the_decayed_rate_of_the_one_above_and_towers_their_own() -> None:
    tower, top, below = variables = three()
    optimizer = make_optimizer(
        variables, total_steps=10, weight_decay=0.0, encoder_levels=[[top], [], [below]], **RATES
    )
    # A step of Adam under one gradient is as long as the rate.
    np.testing.assert_allclose(moved(optimizer, variables), [0.1, 0.01, 0.0025], rtol=1e-3)


def test_all_rates_end_low_together() -> None:
    tower, top, below = variables = three()
    optimizer = make_optimizer(
        variables, total_steps=10, weight_decay=0.0, encoder_levels=[[top], [below]], **RATES
    )
    moved(optimizer, variables, steps=40)
    late = moved(optimizer, variables, steps=1)
    np.testing.assert_allclose(late, np.array([0.1, 0.01, 0.005]) * 0.02, rtol=2e-2)


def test_without_a_language_model_it_is_keras_adamw() -> None:
    variables, plain = three(), three()
    optimizer = make_optimizer(variables, total_steps=10, learning_rate=0.1, weight_decay=0.05)
    schedule = keras.optimizers.schedules.CosineDecay(
        0.0, decay_steps=9, alpha=0.02, warmup_target=0.1, warmup_steps=1
    )
    # Rounded at once, as the kernel has them: Keras rounds 1 - beta apart from beta otherwise.
    betas = {name: float(np.float32(b)) for name, b in (("beta_1", 0.9), ("beta_2", 0.999))}
    expected = keras.optimizers.AdamW(schedule, weight_decay=0.05, global_clipnorm=5.0, **betas)
    expected.build(plain)
    for gradient in (9.0, -0.5):
        found = moved(optimizer, variables, gradient, steps=3)
        np.testing.assert_allclose(found, moved(expected, plain, gradient, steps=3), atol=1e-7)


def test_it_is_adamw_as_published() -> None:
    rng = np.random.default_rng(0)
    value, mean, square = rng.normal(size=(4, 3)), np.zeros((4, 3)), np.zeros((4, 3))
    variable = keras.Variable(value, dtype="float32")
    optimizer = FusedAdamW(0.01, weight_decay=0.1)
    for step in range(1, 6):
        gradient = rng.normal(size=value.shape)
        mean = 0.9 * mean + 0.1 * gradient
        square = 0.999 * square + 0.001 * gradient**2
        value = value - 0.01 * 0.1 * value
        value -= 0.01 * (mean / (1 - 0.9**step)) / (np.sqrt(square / (1 - 0.999**step)) + 1e-7)
        optimizer.apply([tf.constant(gradient, tf.float32)], [variable])
    np.testing.assert_allclose(variable.numpy(), value, atol=1e-6)


@pytest.mark.parametrize("levels", [0, 1])
def test_a_step_of_a_variable_is_one_kernel(levels: int) -> None:
    variables = three()
    optimizer = make_optimizer(variables, total_steps=10, encoder_levels=[[variables[1]]] * levels)
    step = tf.function(lambda gradient: optimizer.apply([gradient] * 3, variables))
    graph = step.get_concrete_function(tf.TensorSpec([], tf.float32)).graph
    assert [op.type for op in graph.get_operations()].count("ResourceApplyAdam") == 3


@pytest.mark.parametrize("levels", [0, 1])
def test_gradients_are_clipped_over_everything_to_a_length_of_5(levels: int) -> None:
    def end(first: tuple[float, float]) -> tuple[float, float]:
        tower, top, _ = three()
        optimizer = make_optimizer(
            [tower, top], total_steps=10, encoder_levels=[[top]] * levels, **RATES
        )
        for pair in (first, (0.3, 0.4), (0.3, 0.4)):  # Adam itself does not see one scale
            optimizer.apply([tf.constant(gradient) for gradient in pair], [tower, top])
        return float(tower), float(top)

    np.testing.assert_allclose(end((30.0, 40.0)), end((3.0, 4.0)), rtol=1e-6)
    assert end((3.0, 4.0)) != pytest.approx(end((1.5, 2.0)), rel=1e-6)


def test_scales_and_biases_do_not_decay_in_any_group() -> None:
    kernel, bias, gamma = (keras.Variable(1.0, name=name) for name in ("kernel", "bias", "gamma"))
    tower = keras.Variable(1.0, name="bias")
    optimizer = make_optimizer(
        [tower, kernel, bias, gamma],
        total_steps=10,
        weight_decay=0.5,
        encoder_levels=[[kernel, bias, gamma]],
        **RATES,
    )
    shrunk = moved(optimizer, [tower, kernel, bias, gamma], gradient=0.0)
    np.testing.assert_allclose(shrunk, [0.0, 0.5 * 0.01, 0.0, 0.0], atol=1e-7)
