"""Which texts are encoded together: sorted by length, padded to few widths."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

BUCKET_TOKENS = 8


def length_batches(
    lengths: np.ndarray, batch_size: int, max_tokens: int
) -> Iterator[tuple[np.ndarray, int]]:
    """Yields batches of texts of like length, the longest first.

    Batches of one width are then neighbours, little is spent on padding, and a batch too big
    for the memory fails at once rather than at the end.

    Args:
        lengths: int `(n,)`, tokens of each text.
        batch_size: int ≥ 1, texts in a batch.
        max_tokens: int, widest batch.

    Yields: rows, int `(b,)` with b ≤ `batch_size`, and the width to pad them to: the longest of
        them, rounded up to a multiple of `BUCKET_TOKENS`, at most `max_tokens`.

    Example:
        >>> batches = length_batches(np.array([3, 20, 4]), batch_size=2, max_tokens=64)
        >>> [(rows.tolist(), width) for rows, width in batches]
        [([1, 2], 24), ([0], 8)]
    """
    order = np.argsort(-lengths, kind="stable")
    for first in range(0, len(order), batch_size):
        rows = order[first : first + batch_size]
        longest = int(lengths[rows[0]])
        yield rows, min(-(-longest // BUCKET_TOKENS) * BUCKET_TOKENS, max_tokens)
