"""Times of a history → how long before each item the one before it was taken, as a bucket.

A bucket is 0 where the gap is not known, else 1 + floor(log2(seconds + 1)): a second more matters
after a second, not after a day.
"""

from __future__ import annotations

from typing import Any

import numpy as np

NUM_BUCKETS = 32
UNKNOWN = 0
# The seconds from which on a gap counts to the next bucket; the last one begins at 34 years.
_BOUNDS = 2 ** np.arange(1, NUM_BUCKETS - 1, dtype=np.int64) - 1


def gap_buckets(times: np.ndarray, owners: np.ndarray | None = None) -> np.ndarray:
    """Returns the bucket of the gap between each item and the one before it.

    Args:
        times: `(n,)`, seconds since 1970, oldest first; a fraction of a second is left out. NaN,
            0 and less are unknown times.
        owners: int `(n,)`, whose item it is, where several histories follow one another. Defaults
            to None, one history.

    Returns: int32 `(n,)`; 0 for the first item of a history, and where one of the two times is
        unknown or the later one is the smaller.

    Example:
        >>> gap_buckets(np.array([100.0, 100.0, 101.0, 104.0, 3704.0, np.nan])).tolist()
        [0, 1, 2, 3, 12, 0]
    """
    whole = np.floor(np.asarray(times, np.float64))
    buckets = np.zeros(len(whole), np.int32)
    before, after = whole[:-1], whole[1:]
    is_known = (before > 0) & (after >= before)
    if owners is not None:
        is_known &= owners[1:] == owners[:-1]
    seconds = after[is_known] - before[is_known]
    buckets[1:][is_known] = 1 + np.searchsorted(_BOUNDS, seconds, side="right")
    return buckets


def gap_buckets_in_graph(times: Any) -> Any:
    """Returns the same of a batch of histories, in a graph or eagerly.

    Args:
        times: int64 `(batch, length)`, seconds since 1970, oldest first, 0 or less where unknown.

    Returns: int32 `(batch, length)`.

    Example:
        >>> import tensorflow as tf
        >>> gap_buckets_in_graph(tf.constant([[0, 100, 103, 0]], tf.int64)).numpy().tolist()
        [[0, 0, 3, 0]]
    """
    from tfrec_llm.keras_api import tf

    before = tf.pad(times[:, :-1], [[0, 0], [1, 0]])[:, : tf.shape(times)[1]]
    is_known = (before > 0) & (times >= before)
    seconds = tf.where(is_known, times - before, 0)
    place = tf.raw_ops.UpperBound(
        sorted_inputs=tf.constant(_BOUNDS[None]), values=tf.reshape(seconds, [1, -1])
    )
    return tf.where(is_known, 1 + tf.reshape(place, tf.shape(times)), UNKNOWN)
