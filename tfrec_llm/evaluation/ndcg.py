"""NDCG@k with one target for each query."""

from __future__ import annotations

import numpy as np


def ndcg_at_k(ranks: np.ndarray, k: int) -> np.ndarray:
    """Returns the discounted gain `1 / log2(rank + 2)` of each target among the first `k`, else 0.

    With one target the ideal list has gain 1, so this is already normalised.

    Args:
        ranks: int `(n,)`, place of the target in the list, 0 = best, -1 = not in the list.
        k: int >= 1.

    Returns: float64 `(n,)` in [0, 1]; its mean is NDCG@k.

    Example:
        >>> ndcg_at_k(np.array([0, 2, 10, -1]), 10).tolist()
        [1.0, 0.5, 0.0, 0.0]

    Reference: Järvelin and Kekäläinen, 2002, doi:10.1145/582415.582418
    """
    ranks = np.asarray(ranks)
    found = (ranks >= 0) & (ranks < k)
    return np.asarray(np.where(found, 1.0 / np.log2(np.where(found, ranks, 0) + 2.0), 0.0))
