"""Histories → how much each item of a history says for another one, by ridge regression.

A likeness counts the same evidence twice: of two sequels that everybody read together each one
votes in full. A regression asks what an item adds to all others of the history, so that votes which
agree are shared out.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from scipy import linalg, sparse

from tfrec_llm.neighbours.largest_of_rows import largest_of_rows

# An item two further on is half as much a target as the next one: more cases, less noise.
AHEAD = 0.5
_LEAST = 0.01  # weights below it are left out
_MOST_BEFORE = 50
_LONGEST_SET = 500
_MOST_PAIRS = 100_000_000  # of items of a history that are multiplied, beyond which rows are drawn
_CAUTION = 5.0  # in the choice of candidates: few cases are no evidence


class ItemRegression:
    """Foretells an item from what was taken, as a weighted sum over the items of the history.

    With a decay below 1 the order counts: every point of a history is a case, what came before it,
    weighted by `decay ** age` and adding up to 1 as in `history_profile`, foretells what came next.
    With a decay of 1 a history is a set, of which each item is foretold by all others.

    The regression of an item has its best candidates alone as inputs, so that time and memory grow
    with the number of items, and not with its square. Weights below 0 are left out: what is served
    looks for items that a history speaks for, and would not find those that it spoke against.

    Args:
        histories: int arrays of item numbers, oldest first.
        num_items: int, size of the corpus.
        decay: float in (0, 1], weight of an item of the history against the one after it.
        num_neighbours: int >= 1, items that may foretell another one, and items kept of those that
            one foretells.

    Raises: ValueError when `decay` is outside (0, 1].

    Example:
        >>> twice = [np.array([0, 1]), np.array([0, 1])]
        >>> ItemRegression(twice, 2, decay=0.5, num_neighbours=1).weights(2.0).toarray().tolist()
        [[0.0, 0.5], [0.0, 0.0]]

    Reference: Ning and Karypis, 2011, doi:10.1109/ICDM.2011.134 (the weights, and neighbours as
        candidates); Choi et al., 2021, arXiv:2103.16104 (cases along a sequence)
    """

    def __init__(
        self,
        histories: Sequence[np.ndarray],
        num_items: int,
        *,
        decay: float,
        num_neighbours: int,
    ) -> None:
        if not 0.0 < decay <= 1.0:
            raise ValueError(f"`decay` must lie in (0, 1], got {decay!r}. 1 takes no order.")
        self.num_items = num_items
        self.num_neighbours = num_neighbours
        inputs, targets = (
            _sets(histories, num_items) if decay == 1.0 else _steps(histories, num_items, decay)
        )
        kept = _affordable(inputs)
        inputs, targets = inputs[kept], targets[kept]
        self._gram = (inputs.T @ inputs).tocsr()
        self._row_lengths = np.diff(self._gram.indptr)
        self._candidates = _largest_for_each_target(
            (inputs.T @ targets).tocsc(), self._gram.diagonal(), num_neighbours
        )

    def weights(self, regularisation: float) -> sparse.csr_matrix:
        """Returns what an item says for others: float32 CSR `(num_items, num_items)`, >= 0.

        Args:
            regularisation: float > 0, pulls weights that rest on few cases towards 0.
        """
        products, values = self._candidates, []
        place = np.full(self.num_items, -1)  # of an item among the candidates of the target
        for item in range(self.num_items):
            begin, end = products.indptr[item], products.indptr[item + 1]
            if begin == end:
                continue
            rows = products.indices[begin:end]
            place[rows] = np.arange(len(rows))
            gram = self._gram_of(rows, place)
            place[rows] = -1
            gram[np.diag_indices_from(gram)] += regularisation
            values.append(
                linalg.solve(gram, products.data[begin:end], assume_a="pos", check_finite=False)
            )
        fitted = np.concatenate([*values, np.zeros(0)]).astype(np.float32)
        matrix = sparse.csc_matrix(
            (np.maximum(fitted, 0.0), products.indices, products.indptr), shape=products.shape
        ).tocsr()
        matrix.eliminate_zeros()
        return largest_of_rows(matrix, self.num_neighbours)

    def _gram_of(self, rows: np.ndarray, place: np.ndarray) -> np.ndarray:
        """Returns `gram[rows][:, rows]`, dense; scipy takes longer for it."""
        begins, lengths = self._gram.indptr[rows], self._row_lengths[rows]
        ends = np.cumsum(lengths)
        entries = np.arange(ends[-1]) + np.repeat(begins - (ends - lengths), lengths)
        columns = place[self._gram.indices[entries]]
        kept = columns >= 0
        dense = np.zeros((len(rows), len(rows)))
        dense[np.repeat(np.arange(len(rows)), lengths)[kept], columns[kept]] = self._gram.data[
            entries[kept]
        ]
        return dense


def _steps(
    histories: Sequence[np.ndarray], num_items: int, decay: float
) -> tuple[sparse.csr_matrix, sparse.csr_matrix]:
    """Returns a row for each item that others come after: what was known, and what came."""
    lengths = np.array([len(history) for history in histories], dtype=np.int64)
    items = np.concatenate([*histories, np.zeros(0)]).astype(np.int64)
    place = np.arange(len(items)) - np.repeat(np.cumsum(lengths) - lengths, lengths)
    to_come = np.repeat(lengths, lengths) - 1 - place
    points = np.flatnonzero(to_come > 0)

    def gathered(factor: float, most: int, step: int, first: int, room: np.ndarray) -> Any:
        reach = min(most, 1 + int(np.log(_LEAST) / np.log(factor)))
        rows = [np.flatnonzero(room[points] >= first + age) for age in range(reach)]
        ages = np.repeat(np.arange(reach), [len(found) for found in rows])
        every = np.concatenate(rows)
        columns = items[points[every] + step * (first + ages)]
        return sparse.csr_matrix(
            ((factor**ages).astype(np.float32), (every, columns)), shape=(len(points), num_items)
        )

    known = gathered(decay, _MOST_BEFORE, -1, 0, place)
    shares = 1.0 / np.maximum(np.asarray(known.sum(axis=1)).ravel(), 1e-9)
    came = gathered(AHEAD, _MOST_BEFORE, 1, 1, to_come)
    return (sparse.diags(shares.astype(np.float32)) @ known).tocsr(), came


def _sets(
    histories: Sequence[np.ndarray], num_items: int
) -> tuple[sparse.csr_matrix, sparse.csr_matrix]:
    """Returns a row for each history, twice: what foretells and what is foretold."""
    newest = [np.unique(history[-_LONGEST_SET:]) for history in histories]
    starts = np.concatenate([[0], np.cumsum([len(history) for history in newest])])
    columns = np.concatenate([*newest, np.zeros(0)]).astype(np.int64)
    ones = np.ones(len(columns), np.float32)
    taken = sparse.csr_matrix((ones, columns, starts), shape=(len(newest), num_items))
    return taken, taken


def _affordable(inputs: sparse.csr_matrix) -> np.ndarray:
    """Returns which rows are used: all, or as many of them, drawn, as may be multiplied out."""
    lengths = np.diff(inputs.indptr).astype(np.float64)
    share = _MOST_PAIRS / max(1.0, float((lengths**2).sum()))
    if share >= 1.0:
        return np.ones(len(lengths), bool)
    return np.random.default_rng(0).random(len(lengths)) < share


def _largest_for_each_target(
    products: sparse.csc_matrix, squares: np.ndarray, count: int
) -> sparse.csc_matrix:
    """Keeps the most promising inputs of each target, itself never."""
    entries = products.tocoo()
    apart = entries.row != entries.col
    inputs, targets, values = entries.row[apart], entries.col[apart], entries.data[apart]
    promise = (values / np.sqrt(squares[inputs] + _CAUTION)).astype(np.float32)
    shape = products.shape
    kept = largest_of_rows(_csr(promise, targets, inputs, shape), count)
    kept.data[:] = 1.0
    return _csr(values, targets, inputs, shape).multiply(kept).T.tocsc()


def _csr(
    values: np.ndarray, rows: np.ndarray, columns: np.ndarray, shape: tuple[int, int]
) -> sparse.csr_matrix:
    matrix = sparse.csr_matrix((values, (rows, columns)), shape=shape)
    matrix.sort_indices()
    return matrix
