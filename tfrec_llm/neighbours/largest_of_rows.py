"""A sparse matrix → the largest entries of each row."""

from __future__ import annotations

import numpy as np
from scipy import sparse


def largest_of_rows(matrix: sparse.csr_matrix, count: int) -> sparse.csr_matrix:
    """Keeps the largest entries of each row; of equal ones that of the lowest column.

    Args:
        matrix: float CSR `(num_rows, num_columns)`, columns in ascending order.
        count: int >= 0, entries kept in a row.

    Returns: CSR of the same shape.

    Example:
        >>> matrix = sparse.csr_matrix([[0.1, 0.3, 0.2], [0.0, 0.5, 0.0]])
        >>> largest_of_rows(matrix, 2).toarray().tolist()
        [[0.0, 0.3, 0.2], [0.0, 0.5, 0.0]]
    """
    lengths = np.diff(matrix.indptr)
    if not len(lengths) or lengths.max() <= count:
        return matrix
    kept = np.ones(matrix.nnz, bool)
    for row in np.flatnonzero(lengths > count):
        entries = slice(matrix.indptr[row], matrix.indptr[row + 1])
        kept[entries] = _largest(matrix.data[entries], count)
    starts = np.concatenate([[0], np.cumsum(np.minimum(lengths, count))])
    return sparse.csr_matrix((matrix.data[kept], matrix.indices[kept], starts), shape=matrix.shape)


def _largest(values: np.ndarray, count: int) -> np.ndarray:
    """Returns which of more than `count` values are the largest, of equal ones the first."""
    if count == 0:
        return np.zeros(len(values), bool)
    least = np.partition(values, len(values) - count)[len(values) - count]
    kept: np.ndarray = values > least
    equal = np.flatnonzero(values == least)
    kept[equal[: count - np.count_nonzero(kept)]] = True
    return kept
