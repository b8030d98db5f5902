"""How unlike each other the items of one list are."""

from __future__ import annotations

import numpy as np

_LISTS_AT_ONCE = 256


def intra_list_distance_at_k(lists: np.ndarray, k: int, item_vectors: np.ndarray) -> float | None:
    """Returns the mean distance `1 - cosine` of two items among the first `k` of a list.

    Args:
        lists: int `(n, length)`, item numbers, best first, -1 = nothing there.
        k: int >= 1.
        item_vectors: float `(num_items, D)`. A zero vector is at distance 1 from everything.
            Vectors that no model ranks by, such as those of the texts, judge all models alike.

    Returns: float in [0, 2], mean over lists of the mean over their pairs; None where no list has
        two items.

    Example:
        >>> vectors = np.array([[1.0, 0.0], [0.0, 2.0], [3.0, 0.0]])
        >>> intra_list_distance_at_k(np.array([[0, 1], [0, 2]]), 2, vectors)
        0.5

    Reference: Ziegler et al., 2005, doi:10.1145/1060745.1060754
    """
    top = np.asarray(lists)[:, :k]
    top = top[(top >= 0).sum(axis=1) >= 2]
    if len(top) == 0:
        return None
    vectors = np.asarray(item_vectors)
    total = 0.0
    for start in range(0, len(top), _LISTS_AT_ONCE):
        rows = top[start : start + _LISTS_AT_ONCE]
        chosen = vectors[np.maximum(rows, 0)].astype(np.float64)
        lengths = np.linalg.norm(chosen, axis=2, keepdims=True)
        chosen = np.where(rows[:, :, None] >= 0, chosen, 0.0) / np.where(lengths > 0, lengths, 1.0)
        # |sum|² holds every pair twice, and each vector with itself.
        twice = (chosen.sum(axis=1) ** 2).sum(axis=1) - (chosen**2).sum(axis=(1, 2))
        sizes = (rows >= 0).sum(axis=1)
        total += float(np.clip(1.0 - twice / (sizes * (sizes - 1)), 0.0, 2.0).sum())
    return total / len(top)
