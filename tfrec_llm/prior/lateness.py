"""Histories → how late in them an item stands, on one scale for the whole corpus."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy import sparse
from scipy.sparse.linalg import cg

# Steps that an item without any would need to move as far as the others' steps say.
_CAUTION = 2.0


def lateness(histories: Sequence[np.ndarray], num_items: int) -> np.ndarray:
    """Places items so that the one taken next lies, as nearly as can be, one step further on.

    What is new at the end of the log stands late, even where nobody noted the time: it follows
    others and hardly anything follows it. Steps are compared across the whole corpus, so two items
    that no history has in common are set in order by those between them. An item with few steps
    stays near 0.

    Args:
        histories: int arrays of item numbers, oldest first.
        num_items: int, size of the corpus.

    Returns: float64 `(num_items,)`, in steps; 0 for an item without a neighbour in any history.

    Example:
        >>> place = lateness([np.array([2, 0]), np.array([0, 1])] * 50, 4)
        >>> place.argsort().tolist()
        [2, 0, 3, 1]

    Reference: Jiang et al., 2011, doi:10.1007/s10107-010-0419-x (ranking by least squares)
    """
    nothing = [np.zeros(0, np.int64)]
    before = np.concatenate([*(history[:-1] for history in histories), *nothing]).astype(np.int64)
    after = np.concatenate([*(history[1:] for history in histories), *nothing]).astype(np.int64)
    apart = before != after
    before, after = before[apart], after[apart]
    shape = (num_items, num_items)
    steps = sparse.csr_matrix((np.ones(len(before)), (before, after)), shape=shape)
    between = steps + steps.T
    degrees = np.asarray(between.sum(axis=1)).ravel() + _CAUTION
    excess = np.bincount(after, minlength=num_items) - np.bincount(before, minlength=num_items)
    laplacian = sparse.diags(degrees) - between
    places, _ = cg(laplacian.tocsr(), excess.astype(np.float64), M=sparse.diags(1.0 / degrees))
    return np.asarray(places)
