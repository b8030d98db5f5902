"""Likeness of items by who took them, pulled towards 0 where few users say so."""

from __future__ import annotations

import numpy as np
from scipy import sparse

from tfrec_llm.neighbours.largest_of_rows import largest_of_rows

_ITEMS_AT_ONCE = 1024


def shrunk_cosine(
    matrix: sparse.csr_matrix, shrinkage: float, num_neighbours: int
) -> sparse.csr_matrix:
    """Returns `both / (sqrt(one * other) + shrinkage)` of item pairs, the largest of each row.

    `both` is the number of users who took both items, `one` and `other` who took each. Worked in
    blocks of items, so that the memory needed is that of the answer.

    Args:
        matrix: float32 CSR `(num_users, num_items)` of ones.
        shrinkage: float >= 0.
        num_neighbours: int >= 1, entries kept in a row; of equal ones any.

    Returns: float32 CSR `(num_items, num_items)`, nothing on the diagonal.

    Example:
        >>> both_users_took_both = sparse.csr_matrix(np.ones((2, 2), np.float32))
        >>> shrunk_cosine(both_users_took_both, shrinkage=2.0, num_neighbours=1).toarray().tolist()
        [[0.0, 0.5], [0.5, 0.0]]
    """
    num_items = matrix.shape[1]
    roots = np.sqrt(np.bincount(matrix.indices, minlength=num_items))
    by_item = matrix.T.tocsr()
    blocks = []
    for start in range(0, num_items, _ITEMS_AT_ONCE):
        pairs = (by_item[start : start + _ITEMS_AT_ONCE] @ matrix).tocoo()
        item, other = pairs.row + start, pairs.col
        values = pairs.data / (roots[item] * roots[other] + shrinkage)
        apart = item != other
        block = sparse.csr_matrix(
            (values[apart].astype(np.float32), (pairs.row[apart], other[apart])), shape=pairs.shape
        )
        blocks.append(largest_of_rows(block, num_neighbours))
    if not blocks:
        return sparse.csr_matrix((num_items, num_items), dtype=np.float32)
    return sparse.vstack(blocks, format="csr")
