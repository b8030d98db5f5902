"""Which sequences train together: shuffled, yet near equal in length."""

from __future__ import annotations

import numpy as np

POOL_BATCHES = 32


def length_buckets(
    lengths: np.ndarray, batch_size: int, generator: np.random.Generator
) -> list[np.ndarray]:
    """Returns the batches of an epoch in random order, little of them padding.

    Sequences are shuffled, sorted by length within pools of 32 batches, and cut into batches.

    Args:
        lengths: int `(n,)`, length of each sequence.
        batch_size: int >= 1, sequences in a batch; the last one of a pool may be smaller.
        generator: of the shuffles; its state moves on.

    Returns: int64 arrays, rows of `lengths`; each row is in one of them.

    Example:
        >>> batches = length_buckets(np.array([9, 1, 9, 1]), 2, np.random.default_rng(0))
        >>> sorted(sorted(batch.tolist()) for batch in batches)
        [[0, 2], [1, 3]]
    """
    order = generator.permutation(len(lengths))
    pool = batch_size * POOL_BATCHES
    batches: list[np.ndarray] = []
    for begin in range(0, len(order), pool):
        part = order[begin : begin + pool]
        part = part[np.argsort(lengths[part], kind="stable")]
        batches += [part[i : i + batch_size] for i in range(0, len(part), batch_size)]
    return [batches[i] for i in generator.permutation(len(batches))]
