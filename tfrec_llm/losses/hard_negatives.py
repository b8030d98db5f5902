"""Which negatives of a query count: the hardest, but for those that look like positives."""

from __future__ import annotations

from typing import Any

from tfrec_llm.keras_api import tf
from tfrec_llm.losses.positive_scores import positive_scores


def hard_negatives(
    scores: Any,
    cosines: Any,
    is_negative: Any,
    num_hard_negatives: int | None = None,
    false_negative_margin: float | None = None,
    labels: Any | None = None,
) -> Any:
    """Returns which negatives count, of those that count already.

    First the guard: a negative nearer to the query than its positive + margin is more likely an
    item that the user has not met yet than one that they do not want, and the harder the
    negatives, the more of them are such; it is dropped. Then the highest-scored are kept, no more
    than asked for even where scores tie. No gradient flows through the choice.

    Args:
        scores: float32 `(num_queries, num_candidates)`, as the softmax will see them: divided by
            the temperature and logQ-corrected. The highest weigh the most in its gradient.
        cosines: float32 `(num_queries, num_candidates)`, neither of both done; column i is the
            positive of query i.
        is_negative: bool `(num_queries, num_candidates)`, False for the positive and for what is
            masked; such candidates neither count nor take the place of others.
        num_hard_negatives: int ≥ 1, the most that are kept for a query. Defaults to None, all.
        false_negative_margin: float, in units of cosine; below 0 it also drops negatives that
            score a little under the positive. Defaults to None, no guard.
        labels: int32 `(num_queries,)`, the column of each query's positive, for queries that are
            some of a larger batch. Defaults to None, as above.

    Returns: bool `(num_queries, num_candidates)`.

    Raises: ValueError when `num_hard_negatives` is below 1.

    Example:
        >>> cosines = tf.constant([[0.5, 0.9, 0.4, 0.1]])
        >>> is_negative = tf.constant([[False, True, True, True]])
        >>> hard_negatives(cosines, cosines, is_negative, 1, 0.2).numpy().tolist()
        [[False, False, True, False]]

    Reference: Xiong et al., 2021, arXiv:2007.00808 (hard negatives); Moreira et al., 2024,
    arXiv:2407.15831 (the guard)
    """
    if num_hard_negatives is not None and num_hard_negatives < 1:
        raise ValueError(
            f"`num_hard_negatives` must be at least 1, got {num_hard_negatives!r}. "
            "Pass None to keep all."
        )
    if false_negative_margin is not None:
        bound = positive_scores(cosines, labels)[:, None] + false_negative_margin
        is_negative &= cosines <= bound
    if num_hard_negatives is not None:
        is_negative &= _is_among_highest(scores, is_negative, num_hard_negatives)
    return tf.stop_gradient(is_negative)


def _is_among_highest(scores: Any, counts: Any, most: int) -> Any:
    num_rows, num_columns = tf.shape(scores)[0], tf.shape(scores)[1]
    candidates = tf.where(counts, tf.stop_gradient(scores), scores.dtype.min)
    columns = tf.math.top_k(candidates, tf.minimum(most, num_columns), sorted=False).indices
    rows = tf.broadcast_to(tf.range(num_rows)[:, None], tf.shape(columns))
    places = tf.stack([tf.reshape(rows, [-1]), tf.reshape(columns, [-1])], axis=1)
    chosen = tf.scatter_nd(places, tf.ones_like(places[:, 0]), [num_rows, num_columns])
    return chosen > 0
