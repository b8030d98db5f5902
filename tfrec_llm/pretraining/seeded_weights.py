"""Weights and drop-out that depend on one seed, and on no global state."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from tfrec_llm.seeds import child_generator

_SCALE = 0.02  # BERT's


def start_weights(weights: Sequence[Any], seed: int) -> None:
    """Sets weights to the start of BERT: normal with deviation 0.02, cut at two; biases zero.

    Args:
        weights: Keras variables; those named gamma become 1, bias and beta 0.
        seed: int.
    """
    for number, weight in enumerate(weights):
        name = weight.path.rsplit("/", 1)[-1]
        if name == "gamma":
            weight.assign(np.ones(weight.shape, np.float32))
        elif name == "beta" or name.endswith("bias"):
            weight.assign(np.zeros(weight.shape, np.float32))
        else:
            drawn = child_generator(seed, "weights", number).normal(size=weight.shape)
            weight.assign((_SCALE * np.clip(drawn, -2, 2)).astype(np.float32))


def seed_dropouts(model: Any, seed: int) -> list[Any]:
    """Sets the state of each drop-out of a Keras model, and returns these variables."""
    weights = {id(weight) for weight in model.weights}
    states = [variable for variable in model.variables if id(variable) not in weights]
    for number, state in enumerate(states):
        drawn = child_generator(seed, "drop-out", number).integers(2**31, size=state.shape)
        state.assign(drawn.astype(np.uint32))
    return states
