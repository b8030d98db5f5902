"""Relevant, and not like the nearest item that is picked already."""

from __future__ import annotations

import numpy as np

from tfrec_llm.diversity.similarity import similarity_to


class MaximalMarginalRelevance:
    """Gain `(1 - diversity) * relevance - diversity * similarity to the nearest picked item`.

    The similarity of `similarity_to`; before the first pick it counts 0. Costs O(n · D) a pick.

    Args:
        relevance: float `(n,)`, best about 1 and worst about 0.
        units: float64 `(n, D)`, see `unit_rows`.
        diversity: float in [0, 1], 0 = relevance alone, 1 = unlikeness alone.

    Example:
        >>> from tfrec_llm.diversity.pick_greedily import pick_greedily
        >>> units = np.array([[1.0, 0.0], [1.0, 0.0], [0.0, 1.0]])
        >>> relevance = np.array([1.0, 0.9, 0.8])
        >>> pick_greedily(MaximalMarginalRelevance(relevance, units, 0.5), k=2).tolist()
        [0, 2]

    Reference: Carbonell and Goldstein, 1998, doi:10.1145/290941.291025
    """

    def __init__(self, relevance: np.ndarray, units: np.ndarray, diversity: float) -> None:
        self._weighted = (1.0 - diversity) * np.asarray(relevance, dtype=np.float64)
        self._units = units
        self._diversity = diversity
        self._nearest = np.zeros(len(units))

    @property
    def values(self) -> np.ndarray:
        """Returns float64 `(n,)`."""
        return np.asarray(self._weighted - self._diversity * self._nearest)

    def add(self, item: int) -> None:
        """Remembers for each item how near the nearest picked one is."""
        self._nearest = np.maximum(self._nearest, similarity_to(self._units, item))
