"""Near pairs of streamed histories, counted within a given memory."""

from __future__ import annotations

import numpy as np
import scipy.sparse as sp

from tfrec_llm.data.shards.streamed_interactions import StreamedInteractions
from tfrec_llm.towers.starts import MAX_GAP, near_pairs

_BATCH_USERS = 16_384
# A sum of sparse matrices, its transpose and the sum of both, 16 bytes an entry.
_BYTES_A_PAIR = 64
# What the closed-form start holds of each item, in columns of float64.
_COPIES_OF_FACTORS, _COPIES_OF_FEATURES = 7, 3


def affordable_gap(
    interactions: StreamedInteractions, num_factors: int, feature_dim: int, memory_bytes: float
) -> int:
    """Returns the largest gap whose near pairs, and the start made of them, fit into the memory.

    Args:
        interactions: the training part.
        num_factors: int, width of the tower.
        feature_dim: int, width of the text features.
        memory_bytes: float, what may be taken.

    Returns: int in 0..`MAX_GAP`; 0 where there is no room for a closed-form start at all.
    """
    num_items = interactions.num_items
    columns = _COPIES_OF_FACTORS * num_factors + _COPIES_OF_FEATURES * feature_dim
    left = memory_bytes - 8.0 * num_items * columns
    gaps = np.arange(1, MAX_GAP + 1)
    pairs = np.zeros(MAX_GAP, np.int64)
    for part in interactions.histories():
        pairs += np.maximum(part.lengths[:, None] - gaps, 0).sum(axis=0)
    distinct = np.minimum(np.cumsum(pairs), num_items * (num_items - 1) / 2)
    return int((_BYTES_A_PAIR * distinct <= left).sum())


def streamed_near_pairs(
    interactions: StreamedInteractions, max_gap: int, *, ordered: bool = True
) -> sp.csr_matrix:
    """Counts near pairs as `near_pairs` does, some users at a time.

    Args:
        interactions: the training part.
        max_gap: int in 1..`MAX_GAP`, pairs further apart do not count.
        ordered: bool, whether the order of a history means anything.

    Returns: float64 `(num_items, num_items)`, symmetric.
    """
    num_items = interactions.num_items
    # Sums of like size are added up, so that the whole is not copied for each part.
    sums: list[sp.csr_matrix] = [sp.csr_matrix((num_items, num_items))]
    for part in interactions.histories(batch_users=_BATCH_USERS):
        histories = [items for _, items in part]
        sums.append(near_pairs(histories, num_items, max_gap, ordered=ordered))
        while len(sums) > 1 and sums[-2].nnz < 2 * sums[-1].nnz:
            last = sums.pop()
            sums[-1] = sums[-1] + last
    while len(sums) > 1:
        last = sums.pop()
        sums[-1] = sums[-1] + last
    return sums[0]
