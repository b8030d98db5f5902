"""How unequally the recommendations are spread over the corpus."""

from __future__ import annotations

import numpy as np


def gini_at_k(lists: np.ndarray, k: int, num_items: int) -> float | None:
    """Returns the Gini index of how often each item stands among the first `k` of a list.

    0 means that every item of the corpus is shown equally often; (n - 1) / n, nearly 1, that one
    of n items has every place. Items that are never shown count.

    Args:
        lists: int `(n, length)`, item numbers, best first, -1 = nothing there.
        k: int >= 1.
        num_items: int, size of the corpus.

    Returns: float in [0, 1); None where nothing was recommended.

    Example:
        >>> gini_at_k(np.array([[0, 1], [2, 3]]), 2, num_items=4)
        0.0
        >>> gini_at_k(np.array([[0], [0]]), 1, num_items=4)
        0.75

    Reference: Fleder and Hosanagar, 2009, doi:10.1287/mnsc.1080.0974
    """
    top = np.asarray(lists)[:, :k]
    shown = np.sort(np.bincount(top[top >= 0], minlength=num_items))
    total = int(shown.sum())
    if total == 0:
        return None
    # Whole numbers until the division: equal exposure gives 0 and not nearly 0.
    weights = 2 * np.arange(1, num_items + 1) - num_items - 1
    return int(weights @ shown) / (num_items * total)
