"""Weighted approximate-rank pairwise loss: what stands above a positive, weighted by its rank."""

from __future__ import annotations

from typing import Any

from tfrec_llm.keras_api import tf


def warp_loss(
    positive_scores: Any,
    negative_scores: Any,
    is_negative: Any,
    num_items: Any,
    margin: float = 1.0,
) -> Any:
    """Returns the mean hinge of the violating negatives, weighted by the log of the rank.

    A negative violates when it scores above positive - margin. The share of violators among the
    sampled negatives says about which rank the positive has in the corpus, and ln(1 + rank)
    weights its loss: a positive near the top is worth little more effort, but the effort goes
    to the top. The original draws negatives one at a time until one violates; here all
    negatives of a batch are compared at once, which estimates the same rank with less noise.

    Args:
        positive_scores: float32 `(num_positives,)`.
        negative_scores: float32 `(num_positives, num_negatives)`, uniform draws from the corpus.
        is_negative: bool `(num_positives, num_negatives)`, False for a pair that does not count.
        num_items: int, size of the corpus.
        margin: float > 0. Defaults to 1.

    Returns: float32 scalar, the mean over the positives; 0 where nothing violates.

    Example:
        >>> scores = tf.constant([2.0]), tf.constant([[1.5, 0.0]])
        >>> loss = warp_loss(*scores, tf.ones([1, 2], tf.bool), num_items=21)
        >>> round(float(loss), 4)  # half of 20 others: ln(1 + 10), times the hinge 0.5
        1.1989

    Reference: Weston et al., 2011, doi:10.5591/978-1-57735-516-8/IJCAI11-460
    """
    hinge = tf.nn.relu(margin - positive_scores[:, None] + negative_scores)
    hinge *= tf.cast(is_negative, hinge.dtype)
    num_violators = tf.reduce_sum(tf.cast(hinge > 0.0, hinge.dtype), axis=1)
    num_negatives = tf.reduce_sum(tf.cast(is_negative, hinge.dtype), axis=1)
    num_others = tf.cast(num_items, hinge.dtype) - 1.0
    rank = tf.floor(tf.math.divide_no_nan(num_violators * num_others, num_negatives))
    weight = tf.stop_gradient(tf.math.log1p(rank))
    losses = weight * tf.math.divide_no_nan(tf.reduce_sum(hinge, axis=1), num_violators)
    return tf.math.divide_no_nan(
        tf.reduce_sum(losses), tf.cast(tf.size(positive_scores), losses.dtype)
    )
