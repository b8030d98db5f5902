"""Clicks → one number an item, to be added to its score whoever asks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from tfrec_llm.prior.lateness import lateness


@dataclass(frozen=True)
class PriorWeights:
    """How much each part counts, in units of a score for one standard deviation.

    Attributes:
        popularity: float, weight of the logarithm of how many took an item.
        lateness: float, weight of how late in histories it stands.
    """

    popularity: float = 0.0
    lateness: float = 0.0


@dataclass(frozen=True)
class PriorParts:
    """What a prior is made of, each of mean 0 and standard deviation 1 over items with clicks.

    A new item has 0 in each, the level of an item of which nothing is known.

    Attributes:
        popularity: float32 `(num_items,)`.
        lateness: float32 `(num_items,)`; zeros where histories have no order.

    Reference: Ji et al., 2020, arXiv:2005.13829 (popular of late tells more than popular ever)
    """

    popularity: np.ndarray
    lateness: np.ndarray

    @classmethod
    def from_histories(
        cls, histories: Sequence[np.ndarray], num_items: int, *, ordered: bool = True
    ) -> PriorParts:
        """Returns the parts for what was taken.

        Args:
            histories: int arrays of item numbers, oldest first.
            num_items: int, size of the corpus.
            ordered: bool, whether the order of a history means anything.

        Example:
            >>> parts = PriorParts.from_histories([np.array([0, 1]), np.array([1])], 3)
            >>> parts.popularity.tolist(), parts.lateness.tolist()
            ([-1.0, 1.0, 0.0], [-1.0, 1.0, 0.0])
        """
        taken = np.concatenate([*histories, np.zeros(0, np.int64)]).astype(np.int64)
        clicks = np.bincount(taken, minlength=num_items)
        places = lateness(histories, num_items) if ordered else np.zeros(num_items)
        return cls(_standardised(np.log1p(clicks), clicks > 0), _standardised(places, clicks > 0))

    def prior(self, weights: PriorWeights) -> np.ndarray:
        """Returns the weighted sum of the parts, float32 `(num_items,)`."""
        total = weights.popularity * self.popularity + weights.lateness * self.lateness
        return np.asarray(total, np.float32)


def _standardised(values: np.ndarray, known: np.ndarray) -> np.ndarray:
    spread = values[known].std() if known.any() else 0.0
    if spread < 1e-9:
        return np.zeros(len(values), np.float32)
    scaled = (values - values[known].mean()) / spread
    return np.where(known, scaled, 0.0).astype(np.float32)
