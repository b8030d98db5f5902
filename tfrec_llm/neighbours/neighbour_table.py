"""The neighbours of every item, with what each adds to a score."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from scipy import sparse

from tfrec_llm.neighbours.history_profile import history_profile

NOTHING = -1


@dataclass(frozen=True)
class NeighbourTable:
    """Adds to the score of an item what its neighbours in a history say.

    Vectors of a few hundred numbers cannot hold who exactly stands beside whom: a series, an
    author, an accessory. This table does, and it is added to the dot product: an item i gets
    sum of decay ** age(h) · weight(h, i) over the items h of the history, divided by the sum of
    decay ** age(h).

    Attributes:
        numbers: int32 `(num_items, width)`, item numbers of the neighbours, -1 for nothing; none
            stands twice in a row.
        weights: float32 `(num_items, width)`, in units of the score, 0 beside a -1.
        decay: float in (0, 1], weight of an item of the history against the one after it.

    Example:
        >>> table = NeighbourTable(np.array([[1], [-1]]), np.array([[0.5], [0.0]]), decay=1.0)
        >>> table.scores([np.array([0]), np.array([1, 0])]).toarray().tolist()
        [[0.0, 0.5], [0.0, 0.25]]
    """

    numbers: np.ndarray
    weights: np.ndarray
    decay: float

    @classmethod
    def from_matrix(cls, matrix: sparse.csr_matrix, decay: float) -> NeighbourTable:
        """Takes the rows of a matrix, the largest weight first.

        Args:
            matrix: float32 CSR `(num_items, num_items)`.
            decay: float in (0, 1].
        """
        lengths = np.diff(matrix.indptr)
        rows = np.repeat(np.arange(len(lengths)), lengths)
        order = np.lexsort((matrix.indices, -matrix.data, rows))
        places = np.arange(matrix.nnz) - np.repeat(matrix.indptr[:-1], lengths)
        width = max(1, int(lengths.max(initial=0)))
        numbers = np.full((len(lengths), width), NOTHING, np.int32)
        weights = np.zeros((len(lengths), width), np.float32)
        numbers[rows, places] = matrix.indices[order]
        weights[rows, places] = matrix.data[order]
        return cls(numbers, weights, decay)

    @classmethod
    def empty(cls, num_items: int) -> NeighbourTable:
        """Returns a table that adds nothing."""
        return cls(
            np.full((num_items, 1), NOTHING, np.int32), np.zeros((num_items, 1), np.float32), 1.0
        )

    @property
    def is_empty(self) -> bool:
        """Says whether the table adds nothing to any score."""
        return not bool(np.any(self.weights))

    @cached_property
    def matrix(self) -> sparse.csr_matrix:
        """The table as float32 CSR `(num_items, num_items)`."""
        rows, places = np.nonzero(self.numbers >= 0)
        shape = (len(self.numbers), len(self.numbers))
        values = (self.weights[rows, places], (rows, self.numbers[rows, places]))
        return sparse.csr_matrix(values, shape=shape, dtype=np.float32)

    def scores(self, histories: Sequence[np.ndarray]) -> sparse.csr_matrix:
        """Returns what each item gets, float32 CSR `(n, num_items)`.

        Args:
            histories: n int arrays of item numbers, oldest first; -1 (unknown) is left out.
        """
        return history_profile(histories, len(self.numbers), self.decay) @ self.matrix
