"""The settings of an optimisation → the optimiser that carries it out."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from tfrec_llm.keras_api import keras, tf
from tfrec_llm.trainer.grouped_optimizer import GroupedOptimizer

GLOBAL_CLIPNORM = 5.0
_NOT_DECAYED = ["log_temperature", "log_weights", "text_weight", "bias", "gamma", "beta"]


def make_optimizer(
    variables: Sequence[Any],
    *,
    total_steps: int,
    learning_rate: float = 1e-3,
    weight_decay: float = 0.05,
    warmup_share: float = 0.1,
    encoder_levels: Sequence[Sequence[Any]] = (),
    encoder_learning_rate: float = 2e-5,
    layer_decay: float = 0.9,
) -> Any:
    """Makes AdamW with warm-up and cosine decay, built for the variables of a model.

    A language model that is trained along has learning rates of its own: its top layer has
    `encoder_learning_rate`, each layer below that of the one above times `layer_decay`. All rates
    follow one schedule. The gradient is clipped over all variables together.

    Args:
        variables: Keras variables that training changes.
        total_steps: int ≥ 1, length of the schedule.
        learning_rate: float > 0, highest rate of the towers. Defaults to 0.001.
        weight_decay: float ≥ 0, times the rate of a variable; biases and scales are left out.
            Defaults to 0.05.
        warmup_share: float in [0, 1), share of the steps in which the rates rise. Defaults to 0.1.
        encoder_levels: variables of a language model by layer, the top one first; some of
            `variables`. Defaults to none.
        encoder_learning_rate: float > 0, highest rate of the top layer. Defaults to 2e-5.
        layer_decay: float in (0, 1]. Defaults to 0.9.

    Returns: an object with `variables`, its state, and `apply(gradients, variables)`; of several
        replicas it takes the gradients that are summed over them already.

    Example:
        >>> tower, layer = keras.Variable(1.0), keras.Variable(1.0)
        >>> optimizer = make_optimizer([tower, layer], total_steps=9, encoder_levels=[[layer]])
        >>> len(optimizer.variables)  # of each: step, rate, and two moments of the gradient
        6

    Reference: Loshchilov and Hutter, 2019, arXiv:1711.05101; Howard and Ruder, 2018,
        arXiv:1801.06146
    """
    options: dict[str, Any] = {
        "total_steps": total_steps,
        "weight_decay": weight_decay,
        "warmup_share": warmup_share,
    }
    of_encoder = {id(variable) for level in encoder_levels for variable in level}
    of_towers = [variable for variable in variables if id(variable) not in of_encoder]
    grouped = GroupedOptimizer(
        [
            (of_towers, _adamw(learning_rate, **options)),
            *(
                (level, _adamw(encoder_learning_rate * layer_decay**depth, **options))
                for depth, level in enumerate(encoder_levels)
            ),
        ],
        GLOBAL_CLIPNORM,
    )
    grouped.build(variables)
    return grouped


class SummedGradients:
    """Mixed into a Keras optimiser: its gradients are the same on all replicas already.

    By itself it would sum them over the replicas, after it has clipped them. Only the sum can be
    clipped as a single process clips it, so they come summed, and are not summed again.

    Example:
        >>> class Plain(SummedGradients, keras.optimizers.SGD):
        ...     pass
        >>> hasattr(keras.optimizers.SGD, "_all_reduce_sum_gradients")  # what it takes the place of
        True
    """

    def _all_reduce_sum_gradients(self, grads_and_vars: Any) -> Any:
        return list(grads_and_vars)


class FusedAdamW(SummedGradients, keras.optimizers.AdamW):
    """AdamW of Keras, whose step is one kernel of TensorFlow instead of a dozen ops.

    Each of those reads and writes the whole of a variable, and a table of item ids is a large one.
    Both compute the same up to rounding.

    Example:
        >>> variable = keras.Variable([1.0])
        >>> optimizer = FusedAdamW(0.1, weight_decay=0.0)
        >>> optimizer.apply([tf.constant([2.0])], [variable])
        >>> round(float(variable[0]), 4)
        0.9

    Reference: Loshchilov and Hutter, 2019, arXiv:1711.05101
    """

    def update_step(self, gradient: Any, variable: Any, learning_rate: Any) -> None:
        """Moves one variable; called by `apply`.

        Args:
            gradient: dense tensor.
            variable: `tf.Variable` of the same shape.
            learning_rate: float scalar.
        """
        index = self._get_variable_index(variable)
        step = tf.cast(self.iterations.value + 1, variable.dtype)
        tf.raw_ops.ResourceApplyAdam(
            var=variable.handle,
            m=self._momentums[index].value.handle,
            v=self._velocities[index].value.handle,
            beta1_power=tf.pow(tf.cast(self.beta_1, variable.dtype), step),
            beta2_power=tf.pow(tf.cast(self.beta_2, variable.dtype), step),
            lr=tf.cast(learning_rate, variable.dtype),
            beta1=self.beta_1,
            beta2=self.beta_2,
            epsilon=self.epsilon,
            grad=tf.cast(gradient, variable.dtype),
        )


def _adamw(
    learning_rate: float, *, total_steps: int, weight_decay: float, warmup_share: float
) -> Any:
    warmup = max(1, int(total_steps * warmup_share))
    schedule = keras.optimizers.schedules.CosineDecay(
        initial_learning_rate=0.0,
        decay_steps=max(1, total_steps - warmup),
        alpha=0.02,
        warmup_target=learning_rate,
        warmup_steps=warmup,
    )
    optimizer = FusedAdamW(schedule, weight_decay=weight_decay, name="adamw")
    optimizer.exclude_from_weight_decay(var_names=_NOT_DECAYED)
    return optimizer
