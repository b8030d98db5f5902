"""Bayesian personalised ranking: a positive should score above each negative."""

from __future__ import annotations

from typing import Any

from tfrec_llm.keras_api import tf


def bpr_loss(positive_scores: Any, negative_scores: Any, is_negative: Any) -> Any:
    """Returns the mean of -ln sigmoid(positive - negative) over all pairs.

    Args:
        positive_scores: float32 `(num_positives,)`.
        negative_scores: float32 `(num_positives, num_negatives)`, row i belongs to positive i.
        is_negative: bool `(num_positives, num_negatives)`, False for a pair that does not count,
            such as an item that the user took.

    Returns: float32 scalar; 0 where no pair counts.

    Example:
        >>> one = tf.constant([1.0]), tf.constant([[1.0, 9.0]]), tf.constant([[True, False]])
        >>> round(float(bpr_loss(*one)), 4)
        0.6931

    Reference: Rendle et al., 2009, arXiv:1205.2618
    """
    pairs = tf.nn.softplus(negative_scores - positive_scores[:, None])
    counts = tf.cast(is_negative, pairs.dtype)
    return tf.math.divide_no_nan(tf.reduce_sum(pairs * counts), tf.reduce_sum(counts))
