"""How alike two items are, from 0 to 1."""

from __future__ import annotations

import numpy as np


def unit_rows(embeddings: np.ndarray) -> np.ndarray:
    """Returns each row scaled to length 1; a zero row stays zero.

    Args:
        embeddings: float `(n, D)`.

    Returns: float64 `(n, D)`.

    Example:
        >>> unit_rows(np.array([[3.0, 4.0], [0.0, 0.0]])).tolist()
        [[0.6, 0.8], [0.0, 0.0]]
    """
    rows = np.asarray(embeddings, dtype=np.float64)
    lengths = np.linalg.norm(rows, axis=1, keepdims=True)
    return np.asarray(rows / np.where(lengths > 0, lengths, 1.0))


def similarity_to(units: np.ndarray, item: int) -> np.ndarray:
    """Returns the similarity `(1 + cosine) / 2` of every item to one of them.

    So 1 is the same direction, 0 the opposite one, and a zero vector is 0.5 from all others.
    Relevance lies between 0 and 1 too, so that the two can be weighed against each other.

    Args:
        units: float64 `(n, D)`, see `unit_rows`.
        item: int, a row.

    Returns: float64 `(n,)`.

    Example:
        >>> similarity_to(np.array([[1.0, 0.0], [0.0, 1.0], [-1.0, 0.0]]), 0).tolist()
        [1.0, 0.5, 0.0]
    """
    return np.asarray((1.0 + units @ units[item]) / 2.0)
