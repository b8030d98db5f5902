"""The best next item, again and again, with at most so many of one category."""

from __future__ import annotations

from typing import Protocol

import numpy as np

NO_CATEGORY = -1


class Gain(Protocol):
    """What each item would add to the items that are picked already."""

    @property
    def values(self) -> np.ndarray:
        """Returns float64 `(n,)`, finite; those of picked items mean nothing."""

    def add(self, item: int) -> None:
        """Picks an item."""


def pick_greedily(
    gain: Gain,
    k: int,
    categories: np.ndarray | None = None,
    max_per_category: int | None = None,
) -> np.ndarray:
    """Picks the item of the highest gain, until `k` are picked or none may be.

    An item whose category is full is passed over and the next best one taken. Each item has one
    category at most, so no other order of picking would give a longer list.

    Args:
        gain: what each of n items adds; told of every pick.
        k: int >= 1.
        categories: int `(n,)`, the category of each item, `NO_CATEGORY` (-1) for none, which is
            never full. None where there are no categories.
        max_per_category: int >= 1, the most items of one category; None for no limit.

    Returns: int64 `(m,)`, m <= k, rows in the order of picking; of equal gains the first row.

    Example:
        >>> from tfrec_llm.diversity.maximal_marginal_relevance import MaximalMarginalRelevance
        >>> relevance = np.array([0.9, 0.8, 0.7, 0.6])
        >>> gain = MaximalMarginalRelevance(relevance, np.eye(4), diversity=0.0)
        >>> pick_greedily(gain, 3, np.array([5, 5, 5, -1]), max_per_category=2).tolist()
        [0, 1, 3]
    """
    is_open = np.ones(len(gain.values), dtype=bool)
    picked: list[int] = []
    while len(picked) < k and is_open.any():
        item = int(np.argmax(np.where(is_open, gain.values, -np.inf)))
        picked.append(item)
        is_open[item] = False
        if categories is not None and max_per_category is not None:
            category = categories[item]
            of_it = int((categories[picked] == category).sum())
            if category != NO_CATEGORY and of_it >= max_per_category:
                is_open &= categories != category
        gain.add(item)
    return np.array(picked, dtype=np.int64)
