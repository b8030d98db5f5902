"""How unexpected the recommended items are."""

from __future__ import annotations

import numpy as np


def novelty_at_k(lists: np.ndarray, k: int, training_counts: np.ndarray) -> float | None:
    """Returns the mean self-information `-log2 p(item)` of the recommended, in bits.

    `p(item) = (count + 1) / (total + number of items)`: one interaction is added to each item,
    so that an item without any has a finite surprise.

    Args:
        lists: int `(n, length)`, item numbers, best first, -1 = nothing there.
        k: int >= 1.
        training_counts: int `(num_items,)`, interactions of each item in training.

    Returns: float >= 0, mean over queries of the mean over their first `k`; None where nothing
        was recommended.

    Example:
        >>> novelty_at_k(np.array([[1, 0]]), 1, np.array([5, 1]))
        2.0

    Reference: Vargas and Castells, 2011, doi:10.1145/2043932.2043955
    """
    counts = np.asarray(training_counts, dtype=np.float64)
    if len(counts) == 0:
        return None
    bits = -np.log2((counts + 1.0) / (counts.sum() + len(counts)))
    means = mean_of_listed(bits, lists[:, :k])
    return float(means.mean()) if len(means) else None


def mean_of_listed(values: np.ndarray, lists: np.ndarray) -> np.ndarray:
    """Returns for each list that holds anything the mean value of its items.

    Args:
        values: float `(num_items,)`.
        lists: int `(n, length)`, item numbers, -1 = nothing there.

    Returns: float64 `(m,)`, m <= n; empty lists are left out.

    Example:
        >>> mean_of_listed(np.array([1.0, 3.0]), np.array([[0, 1], [1, -1], [-1, -1]])).tolist()
        [2.0, 3.0]
    """
    present = lists >= 0
    sums = np.where(present, values[np.where(present, lists, 0)], 0.0).sum(axis=1)
    lengths = present.sum(axis=1)
    return np.asarray(sums[lengths > 0] / lengths[lengths > 0])
