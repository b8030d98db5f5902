from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from tfrec_llm.keras_api import keras, tf
from tfrec_llm.trainer.grouped_optimizer import GroupedOptimizer


def two_groups(rates: tuple[float, float] = (0.1, 0.5), **options: Any) -> Any:
    first, second = keras.Variable([1.0, 1.0]), keras.Variable([1.0])
    optimizer = GroupedOptimizer(
        [([first], keras.optimizers.SGD(rates[0])), ([second], keras.optimizers.SGD(rates[1]))],
        **options,
    )
    optimizer.build([first, second])
    return optimizer, first, second


def test_each_group_moves_at_its_own_rate() -> None:
    optimizer, first, second = two_groups(global_clipnorm=100.0)
    optimizer.apply([tf.constant([3.0]), tf.constant([1.0, 2.0])], [second, first])
    np.testing.assert_allclose(first.numpy(), [0.9, 0.8], atol=1e-6)
    np.testing.assert_allclose(second.numpy(), [-0.5], atol=1e-6)


def test_gradients_are_clipped_over_all_groups_together() -> None:
    optimizer, first, second = two_groups((1.0, 1.0), global_clipnorm=2.0)
    optimizer.apply([tf.constant([0.0, 6.0]), tf.constant([8.0])], [first, second])
    # The length of (0, 6, 8) is 10, so all of it is brought to a fifth.
    np.testing.assert_allclose(first.numpy(), [1.0, 1.0 - 1.2], atol=1e-6)
    np.testing.assert_allclose(second.numpy(), [1.0 - 1.6], atol=1e-6)


def test_short_gradients_are_left_as_they_are() -> None:
    optimizer, first, _ = two_groups((1.0, 1.0), global_clipnorm=2.0)
    optimizer.apply([tf.constant([0.25, 0.0]), tf.constant([0.0])], [first, _])
    np.testing.assert_allclose(first.numpy(), [0.75, 1.0], atol=1e-6)


def test_the_state_of_all_groups_goes_on_where_it_was_saved() -> None:
    def made() -> Any:
        first, second = keras.Variable([1.0, 2.0]), keras.Variable([3.0])
        optimizer = GroupedOptimizer(
            [([v], keras.optimizers.AdamW(rate)) for v, rate in ((first, 0.1), (second, 0.01))]
        )
        optimizer.build([first, second])
        return optimizer, [first, second]

    def step(optimizer: Any, variables: list[Any], number: int) -> None:
        gradients = [tf.constant([0.1, -0.2]) * number, tf.constant([0.3]) / number]
        optimizer.apply(gradients, variables)

    whole, whole_variables = made()
    for number in (1, 2, 3):
        step(whole, whole_variables, number)
        if number == 2:
            kept = [v.numpy() for v in (*whole_variables, *whole.variables)]
    again, variables = made()
    for variable, value in zip((*variables, *again.variables), kept, strict=True):
        variable.assign(value)
    step(again, variables, 3)
    for one, other in zip(variables, whole_variables, strict=True):
        np.testing.assert_array_equal(one.numpy(), other.numpy())


def test_a_variable_in_two_groups_is_refused() -> None:
    variable = keras.Variable(1.0)
    with pytest.raises(ValueError, match="must not share a variable"):
        GroupedOptimizer([([variable], keras.optimizers.SGD()) for _ in range(2)])


def test_variables_that_no_group_has_are_refused() -> None:
    optimizer = GroupedOptimizer([([keras.Variable(1.0)], keras.optimizers.SGD())])
    with pytest.raises(ValueError, match="those of the groups"):
        optimizer.build([keras.Variable(1.0)])
