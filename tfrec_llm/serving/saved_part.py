"""A part of a served graph as a function that stays callable in a saved model."""

from __future__ import annotations

from typing import Any

from tfrec_llm.keras_api import tf


def saved_part(call: Any, *specs: Any) -> Any:
    """Returns a tf.function of the given inputs.

    One that comes out of a saved model is returned as it is: a model that is refreshed every day
    would else call through one function more each day.

    Args:
        call: function of tensors, or a tf.function.
        specs: tf.TensorSpec of each argument.

    Example:
        >>> double = saved_part(lambda x: 2 * x, tf.TensorSpec([None], tf.int32))
        >>> double([1, 2]).numpy().tolist(), saved_part(double) is double
        ([2, 4], True)
    """
    if isinstance(call, tf.types.experimental.PolymorphicFunction):
        return call
    return tf.function(call, input_signature=specs, autograph=False)


def tf_variable(variable: Any) -> Any:
    """Returns the tf.Variable behind a Keras 3 variable, or what is one already."""
    return variable if isinstance(variable, tf.Variable) else variable.value
