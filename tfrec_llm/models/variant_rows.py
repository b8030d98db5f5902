"""Items of a training step → the rows of one text variant of each, drawn at random."""

from __future__ import annotations

from typing import Any

from tfrec_llm.keras_api import tf


def variant_rows(
    item_numbers: Any, corpus_features: Any, num_items: Any, seed: Any, draw: int = 0
) -> Any:
    """Returns a row of the features for each item: its own text, or an augmented copy of it.

    Features of a corpus with copies stand as all items, then the first copy of all items, and so
    on: row = number + num_items * variant, variant 0 being the original. Without copies the
    numbers come back as they are.

    Args:
        item_numbers: int32 `(n,)`, in [0, num_items).
        corpus_features: `((1 + copies) * num_items, …)`.
        num_items: int or int32 scalar, size of the corpus.
        seed: int32 `(2,)`, of the step.
        draw: int, number of this draw among others of the step.

    Returns: int32 `(n,)`.

    Example:
        >>> numbers, features = tf.constant([2, 0]), tf.zeros((3, 8))
        >>> variant_rows(numbers, features, 3, tf.constant([1, 2])).numpy().tolist()
        [2, 0]
    """
    if corpus_features.shape[0] == num_items:
        return item_numbers
    num_variants = tf.shape(corpus_features)[0] // num_items
    variants = tf.random.stateless_uniform(
        tf.shape(item_numbers),
        tf.random.experimental.stateless_fold_in(seed, 1 + draw),
        minval=0,
        maxval=num_variants,
        dtype=tf.int32,
    )
    return item_numbers + num_items * variants
