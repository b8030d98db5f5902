"""Leaves out what a user has seen, exactly, and never pads with it."""

from __future__ import annotations

from typing import Any

from tfrec_llm.keras_api import tf
from tfrec_llm.retrieval.top_k_index import NOTHING, pad_to_k


def leave_out_seen(scores: Any, numbers: Any, seen: Any, k: Any) -> tuple[Any, Any]:
    """Keeps the first `k` found candidates of each row that are not among the seen ones.

    Nothing is lost when at least k + (number of seen candidates) were searched for. Memory grows
    with the widths, not with their product, so a history may be thousands of items long.

    Args:
        scores: float32 `(batch, found)`, best first.
        numbers: int32 `(batch, found)`, item numbers, -1 for nothing.
        seen: int32 `(batch, any)`, item numbers to leave out, -1 for none; may repeat.
        k: int32 scalar tensor or int, >= 0.

    Returns: scores float32 `(batch, k)` and numbers int32 `(batch, k)`; the lowest finite float32
        and -1 where fewer than k are left.

    Example:
        >>> found = tf.constant([[0.9, 0.8, 0.7]]), tf.constant([[4, 1, 3]])
        >>> scores, numbers = leave_out_seen(*found, seen=tf.constant([[1, -1]]), k=2)
        >>> numbers.numpy().tolist()
        [[4, 3]]
    """
    k = tf.convert_to_tensor(k, tf.int32)
    keep = (numbers >= 0) & ~_is_member(numbers, seen)
    # Kept ones first, in the order in which they were found.
    found = tf.shape(numbers)[1]
    order = tf.where(keep, found - tf.range(found), 0)
    places, position = tf.math.top_k(order, tf.minimum(k, found))
    kept_numbers = tf.gather(numbers, position, batch_dims=1)
    kept_scores = tf.gather(scores, position, batch_dims=1)
    return pad_to_k(kept_scores, tf.where(places > 0, kept_numbers, NOTHING), k)


def _is_member(numbers: Any, members: Any) -> Any:
    """Returns bool like `numbers`: whether the row of `members` holds the number."""
    one_more = [[0, 0], [0, 1]]  # the search takes no row without columns
    members = tf.sort(tf.pad(members, one_more, constant_values=NOTHING), axis=1)
    place = tf.searchsorted(members, tf.pad(numbers, one_more))[:, :-1]
    place = tf.minimum(place, tf.shape(members)[1] - 1)
    return tf.equal(tf.gather(members, place, batch_dims=1), numbers)
