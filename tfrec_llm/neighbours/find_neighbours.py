"""Interactions and texts → the neighbours of every item.

Clicks say who stands beside whom where both items have some. The words of the texts say it too, an
author, a series, a name that a language model has never met, and for a new item they alone do.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import sparse

from tfrec_llm.neighbours.neighbour_table import NeighbourTable
from tfrec_llm.neighbours.shrunk_cosine import shrunk_cosine
from tfrec_llm.neighbours.word_likeness import WordLikeness


@dataclass(frozen=True)
class NeighbourSettings:
    """How much neighbours count beside the dot product of the towers.

    Attributes:
        weight: float >= 0, of the likeness by clicks.
        word_weight: float >= 0, of the likeness by words of two items with clicks.
        new_weight: float >= 0, of the likeness by words where one of the two is new.
        sharpness: float > 0, power to which that likeness is raised: above 1, a book of the same
            series counts for more than several that share a common word.
        shrinkage: float >= 0, pulls likeness by clicks that rests on few users towards 0.
        decay: float in (0, 1], weight of an item of the history against the one after it.
        num_neighbours: int >= 1, kept of each item by each kind of likeness.
    """

    weight: float = 0.0
    word_weight: float = 0.0
    new_weight: float = 0.0
    sharpness: float = 1.0
    shrinkage: float = 20.0
    decay: float = 0.8
    num_neighbours: int = 100


def find_neighbours(
    interactions: sparse.csr_matrix, item_texts: Sequence[str], settings: NeighbourSettings
) -> NeighbourTable:
    """Finds the neighbours of every item.

    Args:
        interactions: float32 CSR `(num_users, num_items)` of ones, the training pairs. An item
            without any is new.
        item_texts: num_items str.
        settings: `NeighbourSettings`.

    Returns: `NeighbourTable`.

    Example:
        >>> taken = sparse.csr_matrix(np.array([[1, 1, 0], [1, 1, 0]], np.float32))
        >>> settings = NeighbourSettings(weight=2.0, new_weight=1.0, shrinkage=2.0, decay=1.0)
        >>> table = find_neighbours(taken, ["blue sea", "red rock", "sea food"], settings)
        >>> table.matrix.toarray().astype(float).round(2).tolist()
        [[0.0, 1.0, 0.37], [1.0, 0.0, 0.0], [0.37, 0.0, 0.0]]
    """
    num_items = interactions.shape[1]
    matrix = sparse.csr_matrix((num_items, num_items), dtype=np.float32)
    if settings.weight:
        by_clicks = shrunk_cosine(interactions, settings.shrinkage, settings.num_neighbours)
        matrix = matrix + np.float32(settings.weight) * by_clicks
    if settings.word_weight or settings.new_weight:
        is_new = np.bincount(interactions.indices, minlength=num_items) == 0
        words, most = WordLikeness(item_texts), settings.num_neighbours
        if settings.word_weight:
            matrix = matrix + np.float32(settings.word_weight) * words.pairs(~is_new, ~is_new, most)
        if settings.new_weight:
            by_words = words.new_pairs(is_new, most).power(settings.sharpness)
            matrix = matrix + np.float32(settings.new_weight) * by_words
    return NeighbourTable.from_matrix(matrix.tocsr(), settings.decay)
