"""Relevant, and spanning much with the items that are picked already."""

from __future__ import annotations

import numpy as np

from tfrec_llm.diversity.similarity import similarity_to

OWN_PART = 1e-3


class DeterminantalPointProcess:
    """What an item adds to `(1 - diversity) * sum of relevance + diversity * log det S`.

    S holds the similarities of the picked items, `(1 - OWN_PART) * similarity_to`, with 1 on the
    diagonal. The small part that each item has for itself keeps the determinant above 0, so two
    items of one vector can still be listed, one far below the other, and a list may be longer
    than the vectors. The determinant of items alike in pairs sinks with every pair, where maximal
    marginal relevance looks at the nearest one only.

    The gain is exact: a row of the Cholesky factor of S is added a pick, in O(n · (picked + D)).

    Args:
        relevance: float `(n,)`, best about 1 and worst about 0.
        units: float64 `(n, D)`, see `unit_rows`.
        diversity: float in [0, 1], 0 = relevance alone, 1 = the determinant alone.

    Example:
        >>> from tfrec_llm.diversity.pick_greedily import pick_greedily
        >>> units = np.array([[1.0, 0.0], [1.0, 0.0], [0.0, 1.0]])
        >>> relevance = np.array([1.0, 0.9, 0.8])
        >>> pick_greedily(DeterminantalPointProcess(relevance, units, 0.5), k=3).tolist()
        [0, 2, 1]

    Reference: Chen, Zhang and Zhou, 2018, arXiv:1709.05135
    """

    def __init__(self, relevance: np.ndarray, units: np.ndarray, diversity: float) -> None:
        self._weighted = (1.0 - diversity) * np.asarray(relevance, dtype=np.float64)
        self._units = units
        self._diversity = diversity
        # What is left of each item's 1 on the diagonal after all picked ones explained theirs.
        self._residual = np.ones(len(units))
        self._factor = np.zeros((0, len(units)))

    @property
    def values(self) -> np.ndarray:
        """Returns float64 `(n,)`."""
        return np.asarray(self._weighted + self._diversity * np.log(self._residual))

    def add(self, item: int) -> None:
        """Adds the row of the item to the Cholesky factor."""
        similarity = (1.0 - OWN_PART) * similarity_to(self._units, item)
        explained = self._factor[:, item] @ self._factor
        row = (similarity - explained) / np.sqrt(self._residual[item])
        self._factor = np.vstack([self._factor, row])
        # No item can be explained beyond its own part; only rounding would go below.
        self._residual = np.maximum(self._residual - row**2, OWN_PART)
