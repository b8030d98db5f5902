"""The neighbours of one catalogue → those of the next, without the clicks they came from."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy import sparse

from tfrec_llm.neighbours.find_neighbours import NeighbourSettings
from tfrec_llm.neighbours.largest_of_rows import largest_of_rows
from tfrec_llm.neighbours.neighbour_table import NOTHING, NeighbourTable
from tfrec_llm.neighbours.word_likeness import WordLikeness


def carry_over(
    table: NeighbourTable,
    previous: np.ndarray,
    is_trained: np.ndarray,
    has_new_text: np.ndarray,
    item_texts: Sequence[str],
    settings: NeighbourSettings | None,
) -> NeighbourTable:
    """Renumbers neighbours, drops those that are gone, and finds those of new texts by words.

    What two items say of each other stays as it was where both were trained, or where the texts of
    both are as they were. Other pairs are compared anew by their words, as training compares
    items without clicks.

    Args:
        table: `NeighbourTable` of the catalogue before.
        previous: int `(num_items,)`, the number of each item before, -1 for a new one.
        is_trained: bool `(num_items,)`, items with clicks in training.
        has_new_text: bool `(num_items,)`, items whose text is another than before, or the first.
        item_texts: num_items str.
        settings: how neighbours were found in training; None finds none by words.

    Returns: `NeighbourTable` of the new catalogue.

    Example:
        >>> before = NeighbourTable(np.array([[1], [0]]), np.array([[0.5], [0.5]]), decay=0.8)
        >>> settings = NeighbourSettings(new_weight=1.0, num_neighbours=5)
        >>> after = carry_over(before, np.array([1, 0, -1]), np.array([True, True, False]),
        ...     np.array([False, False, True]), ["red rock", "blue sea", "sea food"], settings)
        >>> after.matrix.toarray().astype(float).round(2).tolist()
        [[0.0, 0.5, 0.0], [0.5, 0.0, 0.37], [0.0, 0.37, 0.0]]
    """
    carried = renumbered(table, previous).matrix
    if settings is None or not settings.new_weight:
        # Nothing to compare by: what an item said of another stays as long as both do.
        return NeighbourTable.from_matrix(carried.tocsr(), table.decay)
    entries = carried.tocoo()
    between_trained = is_trained[entries.row] & is_trained[entries.col]
    as_it_was = ~(has_new_text[entries.row] | has_new_text[entries.col])
    of_clicks = _kept(entries, between_trained)
    with_new = _kept(entries, ~between_trained & as_it_was)
    most = settings.num_neighbours
    if has_new_text.any():
        words = WordLikeness(item_texts)
        untrained, everything = has_new_text & ~is_trained, np.ones_like(has_new_text)
        changed = has_new_text & is_trained
        # Each pair of which one text is new and one item untrained, once in each direction.
        found = [
            words.pairs(~untrained, untrained, most),
            words.pairs(untrained, everything, most),
        ]
        if changed.any():
            rest = ~is_trained & ~untrained
            found += [words.pairs(changed, rest, most), words.pairs(rest, changed, most)]
        by_words = sum(found[1:], found[0]).power(settings.sharpness)
        with_new = with_new + np.float32(settings.new_weight) * by_words
    with_new = largest_of_rows(_sorted(with_new), most)
    return NeighbourTable.from_matrix((of_clicks + with_new).tocsr(), table.decay)


def renumbered(table: NeighbourTable, previous: np.ndarray) -> NeighbourTable:
    """Gives the rows and entries of a table the numbers of another catalogue.

    Args:
        table: `NeighbourTable` of the catalogue before.
        previous: int `(num_items,)`, the number of each item before, -1 for a new one.

    Returns: `NeighbourTable` of num_items rows; those of new items are empty, and neighbours that
        are gone leave no gap.

    Example:
        >>> before = NeighbourTable(
        ...     np.array([[1, 2], [0, -1], [0, -1]]), np.array([[3.0, 1], [3, 0], [1, 0]]), 1.0)
        >>> renumbered(before, np.array([2, -1, 0])).numbers.tolist()
        [[2], [-1], [0]]
    """
    number_now = np.full(len(table.numbers) + 1, NOTHING, np.int32)  # the last stands for nothing
    kept = previous >= 0
    number_now[previous[kept]] = np.flatnonzero(kept)
    numbers = np.full((len(previous), table.numbers.shape[1]), NOTHING, np.int32)
    weights = np.zeros(numbers.shape, np.float32)
    numbers[kept] = number_now[table.numbers[previous[kept]]]
    weights[kept] = table.weights[previous[kept]]
    rows, places = np.nonzero(numbers >= 0)
    matrix = sparse.csr_matrix(
        (weights[rows, places], (rows, numbers[rows, places])),
        shape=(len(previous), len(previous)),
        dtype=np.float32,
    )
    return NeighbourTable.from_matrix(matrix, table.decay)


def _kept(entries: sparse.coo_matrix, is_kept: np.ndarray) -> sparse.csr_matrix:
    kept = (entries.data[is_kept], (entries.row[is_kept], entries.col[is_kept]))
    return sparse.csr_matrix(kept, shape=entries.shape, dtype=np.float32)


def _sorted(matrix: sparse.csr_matrix) -> sparse.csr_matrix:
    matrix = matrix.tocsr()
    matrix.sort_indices()
    return matrix
