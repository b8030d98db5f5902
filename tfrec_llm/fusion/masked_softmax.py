"""Softmax over the tokens of a text."""

from __future__ import annotations

from typing import Any

from tfrec_llm.keras_api import keras, tf


def masked_softmax(scores: Any, mask: Any) -> Any:
    """Returns weights that sum to 1 over the last axis, and to 0 where all of it is masked.

    Args:
        scores: float32 `(…, n)`, finite.
        mask: bool, broadcast to the scores; True counts.

    Returns: float32 `(…, n)`, zeros where masked.

    Example:
        >>> mask = tf.constant([[True, True, False], [False, False, False]])
        >>> masked_softmax(tf.zeros((2, 3)), mask).numpy().tolist()
        [[0.5, 0.5, 0.0], [0.0, 0.0, 0.0]]
    """
    lowest = scores.dtype.min
    scores = keras.ops.where(mask, scores, lowest)
    # An axis of no width has no largest score: `initial` stands in.
    largest = tf.stop_gradient(keras.ops.max(scores, axis=-1, keepdims=True, initial=lowest))
    weights = keras.ops.where(mask, keras.ops.exp(scores - largest), 0.0)
    return tf.math.divide_no_nan(weights, keras.ops.sum(weights, axis=-1, keepdims=True))
