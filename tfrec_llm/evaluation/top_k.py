"""The k best items of each row of scores, exactly, with ties broken fairly."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import numpy as np


def tie_order(item_ids: Sequence[str]) -> np.ndarray:
    """Returns the order in which items of equal score are listed: that of sha256(item id).

    The plain order of ids, or of rows, often follows popularity or time, and a model that gives
    every item the same score would gain from it. This order follows nothing, and stays the same
    when items are added or stand in another order.

    Args:
        item_ids: n str, unique.

    Returns: int32 `(n,)`, item numbers; the first one wins every tie.

    Example:
        >>> tie_order(["1", "2", "3"]).tolist()
        [2, 0, 1]
    """
    digests = [
        hashlib.sha256(item_id.encode("utf-8", "surrogatepass")).digest() for item_id in item_ids
    ]
    return np.array(sorted(range(len(digests)), key=digests.__getitem__), dtype=np.int32)


def top_k(scores: np.ndarray, k: int, order: np.ndarray) -> np.ndarray:
    """Returns the numbers of the `k` highest scores of each row, best first.

    Equal scores are listed in the order of `order`. A score of -inf means excluded: it is never
    listed, and -1 stands where nothing is left. Items that `order` leaves out take no part.

    Args:
        scores: float `(num_queries, num_items)`, no NaN.
        k: int >= 1; may be larger than the number of items.
        order: int `(m,)`, item numbers that take part, see `tie_order`.

    Returns: int32 `(num_queries, k)`.

    Raises: ValueError when `k` is below 1 or a score is NaN.

    Example:
        >>> scores = np.array([[1.0, 3.0, 3.0, -np.inf]], dtype=np.float32)
        >>> top_k(scores, 4, order=np.array([2, 1, 0, 3])).tolist()
        [[2, 1, 0, -1]]
    """
    if k < 1:
        raise ValueError(f"`k` must be at least 1, got {k}.")
    if np.isnan(scores).any():
        raise ValueError("`scores` hold NaN, which has no place in an order. Mend the model.")
    num_queries = len(scores)
    width = min(k, len(order))
    listed = np.full((num_queries, k), -1, dtype=np.int32)
    if num_queries == 0 or width == 0:
        return listed

    # In columns of the tie order, "the earlier column" is all that is left of a tie.
    ordered = scores[:, order]
    columns = _columns_of_largest(ordered, width)
    values = np.take_along_axis(ordered, columns, axis=1)
    by_score = np.argsort(-values, axis=1, kind="stable")
    columns = np.take_along_axis(columns, by_score, axis=1)
    values = np.take_along_axis(values, by_score, axis=1)
    listed[:, :width] = np.where(values == -np.inf, -1, order[columns])
    return listed


def _columns_of_largest(scores: np.ndarray, k: int) -> np.ndarray:
    """Returns int `(rows, k)`: columns of the k largest, ascending; of equal ones the first."""
    num_queries, num_columns = scores.shape
    threshold = np.partition(scores, num_columns - k, axis=1)[:, num_columns - k, None]
    chosen = scores >= threshold
    crowded = np.flatnonzero(chosen.sum(axis=1) > k)
    if len(crowded):
        above = scores[crowded] > threshold[crowded]
        equal = scores[crowded] == threshold[crowded]
        room = k - above.sum(axis=1, keepdims=True)
        chosen[crowded] = above | (equal & (equal.cumsum(axis=1, dtype=np.int32) <= room))
    return np.nonzero(chosen)[1].reshape(num_queries, k)
