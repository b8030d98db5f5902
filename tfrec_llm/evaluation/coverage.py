"""How much of the corpus is ever recommended."""

from __future__ import annotations

import numpy as np


def coverage_at_k(lists: np.ndarray, k: int, num_items: int) -> float | None:
    """Returns the share of the corpus that stands among the first `k` of any list.

    Args:
        lists: int `(n, length)`, item numbers, best first, -1 = nothing there.
        k: int >= 1.
        num_items: int, size of the corpus.

    Returns: float in [0, 1]; None without lists or without items.

    Example:
        >>> coverage_at_k(np.array([[0, 1], [0, -1]]), 2, num_items=4)
        0.5
    """
    if len(lists) == 0 or num_items == 0:
        return None
    shown = np.zeros(num_items, dtype=bool)
    top = lists[:, :k]
    shown[top[top >= 0]] = True
    return float(shown.mean())
