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
    row_of = np.repeat(np.arange(len(lengths)), lengths)
    largest_first = np.lexsort((-matrix.data, row_of))
    place = np.arange(matrix.nnz) - np.repeat(matrix.indptr[:-1], lengths)
    kept = np.sort(largest_first[place < count])
    starts = np.concatenate([[0], np.cumsum(np.minimum(lengths, count))])
    return sparse.csr_matrix((matrix.data[kept], matrix.indices[kept], starts), shape=matrix.shape)
