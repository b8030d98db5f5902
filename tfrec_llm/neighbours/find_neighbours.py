"""Interactions and texts → the neighbours of every item.

Clicks say what a history speaks for where both items have some. The words of the texts say it too,
an author, a series, a name that a language model has never met, and for a new item they alone do.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import sparse

from tfrec_llm.neighbours.item_regression import ItemRegression
from tfrec_llm.neighbours.neighbour_table import NeighbourTable
from tfrec_llm.neighbours.word_likeness import WordLikeness


@dataclass(frozen=True)
class NeighbourSettings:
    """How much neighbours count beside the dot product of the towers.

    Attributes:
        weight: float >= 0, of what clicks say, see `ItemRegression`.
        word_weight: float >= 0, of the likeness by words of two items with clicks.
        new_weight: float >= 0, of the likeness by words where one of the two is new.
        sharpness: float > 0, power to which that likeness is raised: above 1, a book of the same
            series counts for more than several that share a common word.
        regularisation: float > 0, pulls what rests on few clicks towards 0.
        decay: float in (0, 1], weight of an item of the history against the one after it; 1 takes
            histories as sets.
        num_neighbours: int >= 1, kept of each item by each kind of evidence.
    """

    weight: float = 0.0
    word_weight: float = 0.0
    new_weight: float = 0.0
    sharpness: float = 1.0
    regularisation: float = 10.0
    decay: float = 0.8
    num_neighbours: int = 100


def find_neighbours(
    histories: Sequence[np.ndarray], item_texts: Sequence[str], settings: NeighbourSettings
) -> NeighbourTable:
    """Finds the neighbours of every item.

    Args:
        histories: int arrays of item numbers, oldest first: what the users of training took. An
            item in none of them is new.
        item_texts: num_items str.
        settings: `NeighbourSettings`.

    Returns: `NeighbourTable`.

    Example:
        >>> taken = [np.array([0, 1]), np.array([0, 1])]
        >>> settings = NeighbourSettings(weight=2.0, new_weight=1.0, regularisation=2.0, decay=1.0)
        >>> table = find_neighbours(taken, ["blue sea", "red rock", "sea food"], settings)
        >>> table.matrix.toarray().astype(float).round(2).tolist()
        [[0.0, 1.0, 0.37], [1.0, 0.0, 0.0], [0.37, 0.0, 0.0]]
    """
    num_items, most = len(item_texts), settings.num_neighbours
    matrix = sparse.csr_matrix((num_items, num_items), dtype=np.float32)
    if settings.weight:
        regression = ItemRegression(histories, num_items, decay=settings.decay, num_neighbours=most)
        by_clicks = regression.weights(settings.regularisation)
        matrix = matrix + np.float32(settings.weight) * by_clicks
    if settings.word_weight or settings.new_weight:
        is_new = unseen_items(histories, num_items)
        words = WordLikeness(item_texts)
        if settings.word_weight:
            matrix = matrix + np.float32(settings.word_weight) * words.pairs(~is_new, ~is_new, most)
        if settings.new_weight:
            by_words = words.new_pairs(is_new, most).power(settings.sharpness)
            matrix = matrix + np.float32(settings.new_weight) * by_words
    return NeighbourTable.from_matrix(matrix.tocsr(), settings.decay)


def unseen_items(histories: Sequence[np.ndarray], num_items: int) -> np.ndarray:
    """Returns bool `(num_items,)`, which items are in no history."""
    is_new = np.ones(num_items, bool)
    for history in histories:
        is_new[history] = False
    return is_new
