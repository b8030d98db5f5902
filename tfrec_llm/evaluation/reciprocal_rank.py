"""Reciprocal rank with one target for each query."""

from __future__ import annotations

import numpy as np


def reciprocal_rank(ranks: np.ndarray) -> np.ndarray:
    """Returns `1 / (rank + 1)` of each target, 0 where it is not in the list.

    Args:
        ranks: int `(n,)`, place of the target in the list, 0 = best, -1 = not in the list.

    Returns: float64 `(n,)` in [0, 1]; its mean is MRR, cut at the length of the lists.

    Example:
        >>> reciprocal_rank(np.array([0, 3, -1])).tolist()
        [1.0, 0.25, 0.0]
    """
    ranks = np.asarray(ranks)
    found = ranks >= 0
    return np.asarray(np.where(found, 1.0 / (np.where(found, ranks, 0) + 1.0), 0.0))
