"""Recall@k with one target for each query."""

from __future__ import annotations

import numpy as np


def recall_at_k(ranks: np.ndarray, k: int) -> np.ndarray:
    """Returns 1 for each query whose target stands among the first `k`, else 0.

    With one target this is also the hit rate.

    Args:
        ranks: int `(n,)`, place of the target in the list, 0 = best, -1 = not in the list.
        k: int >= 1.

    Returns: float64 `(n,)`; its mean is recall@k.

    Example:
        >>> recall_at_k(np.array([0, 9, 10, -1]), 10).tolist()
        [1.0, 1.0, 0.0, 0.0]
    """
    ranks = np.asarray(ranks)
    return np.asarray((ranks >= 0) & (ranks < k), dtype=np.float64)
