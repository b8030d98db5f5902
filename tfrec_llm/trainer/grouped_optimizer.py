"""Several optimisers as one: each group of variables has a learning rate of its own."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from tfrec_llm.keras_api import keras, tf


class GroupedOptimizer:
    """Applies an optimiser of its own to each group of variables; gradients are clipped together.

    A Keras 3 optimiser has one learning rate for all of its variables. Here each group has a whole
    one, with its own schedule, and the length of the gradient is measured over all groups, so that
    clipping keeps its direction.

    Args:
        groups: pairs of Keras variables and a Keras optimiser that clips nothing itself; no
            variable is in two groups, and groups without variables are left out.
        global_clipnorm: float > 0, longest gradient over all variables. Defaults to 5.

    Attributes:
        variables: all state, what a checkpoint needs to go on exactly.

    Raises: ValueError when a variable is in two groups.

    Example:
        >>> slow, fast = keras.Variable(1.0), keras.Variable(1.0)
        >>> optimizer = GroupedOptimizer(
        ...     [([slow], keras.optimizers.SGD(0.1)), ([fast], keras.optimizers.SGD(0.5))]
        ... )
        >>> optimizer.build([fast, slow])
        >>> optimizer.apply([tf.constant(1.0), tf.constant(1.0)], [fast, slow])
        >>> float(slow), float(fast)
        (0.8999999761581421, 0.5)

    Reference: Howard and Ruder, 2018, arXiv:1801.06146 (discriminative fine-tuning)
    """

    def __init__(
        self, groups: Sequence[tuple[Sequence[Any], Any]], global_clipnorm: float = 5.0
    ) -> None:
        self._groups = [(list(members), optimizer) for members, optimizer in groups if members]
        ids = [id(variable) for members, _ in self._groups for variable in members]
        if len(ids) != len(set(ids)):
            raise ValueError("`groups` must not share a variable; one of them is in two.")
        self._ids = set(ids)
        self.global_clipnorm = global_clipnorm

    def build(self, variables: Sequence[Any]) -> None:
        """Makes the state of all groups.

        Args:
            variables: Keras variables, those of the groups in any order.

        Raises: ValueError when the groups hold others.
        """
        if {id(variable) for variable in variables} != self._ids:
            raise ValueError("`variables` must be those of the groups, each once.")
        for members, optimizer in self._groups:
            optimizer.build(members)

    @property
    def variables(self) -> list[keras.Variable]:
        """The state of all groups, in their order."""
        return [variable for _, optimizer in self._groups for variable in optimizer.variables]

    def apply(self, gradients: Sequence[Any], variables: Sequence[Any]) -> None:
        """Clips the gradients and makes one step; works inside a graph.

        Args:
            gradients: dense tensors, one for each variable.
            variables: Keras variables, those of the groups in any order.
        """
        clipped, _ = tf.clip_by_global_norm(list(gradients), self.global_clipnorm)
        gradient_of = {id(v): g for v, g in zip(variables, clipped, strict=True)}
        for members, optimizer in self._groups:
            optimizer.apply([gradient_of[id(variable)] for variable in members], members)
