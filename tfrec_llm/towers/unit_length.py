"""Vectors to unit length, with a defined answer for the zero vector."""

from __future__ import annotations

from typing import Any

from tfrec_llm.keras_api import keras


def unit_length(vectors: Any) -> Any:
    """Scales each vector to length 1; a zero vector stays zero, and its gradient small.

    Args:
        vectors: float tensor `(…, dim)`.

    Returns: float tensor of the same shape.

    Example:
        >>> unit_length(keras.ops.array([[3.0, 4.0], [0.0, 0.0]])).numpy().round(2).tolist()
        [[0.6000000238418579, 0.800000011920929], [0.0, 0.0]]
    """
    square = keras.ops.sum(keras.ops.square(vectors), axis=-1, keepdims=True)
    # A vector that short is left as it is: blown up, the gradient of one zero vector would outweigh
    # those of all others, and clipping the norm of the whole would leave nothing of them.
    size = keras.ops.where(square > 1e-12, square, 1.0)
    return vectors * keras.ops.rsqrt(size)
