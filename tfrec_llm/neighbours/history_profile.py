"""A user's history as weights on the corpus, the newest item first in weight."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy import sparse


def history_profile(
    histories: Sequence[np.ndarray], num_items: int, decay: float = 1.0
) -> sparse.csr_matrix:
    """Returns weights `decay ** age` of the items of each history, adding up to 1.

    Args:
        histories: n int arrays of item numbers, oldest first; -1 (unknown) is left out.
        num_items: int, size of the corpus.
        decay: float in (0, 1]; the newest item has age 0; 1 weighs all alike.

    Returns: float32 CSR `(n, num_items)`; a row of an empty history is empty.

    Raises: ValueError when `decay` is outside (0, 1].

    Example:
        >>> history_profile([np.array([2, 0]), np.array([])], 3, decay=0.25).toarray().tolist()
        [[0.800000011920929, 0.0, 0.20000000298023224], [0.0, 0.0, 0.0]]
    """
    if not 0.0 < decay <= 1.0:
        raise ValueError(f"`decay` must lie in (0, 1], got {decay!r}. 1 weighs all items alike.")
    known = [np.asarray(h, dtype=np.int64)[np.asarray(h) >= 0] for h in histories]
    starts = np.concatenate([[0], np.cumsum([len(history) for history in known])])
    weights = [np.power(decay, np.arange(len(h) - 1, -1, -1, dtype=np.float64)) for h in known]
    weights = [w / w.sum() if len(w) else w for w in weights]
    empty = np.zeros(0, dtype=np.int64)
    profile = sparse.csr_matrix(
        (
            np.concatenate([*weights, empty]).astype(np.float32),
            np.concatenate([*known, empty]),
            starts,
        ),
        shape=(len(known), num_items),
    )
    profile.sum_duplicates()
    return profile
