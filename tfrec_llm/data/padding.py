"""Sequences of different lengths → one array."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np


def left_padded(
    sequences: Sequence[np.ndarray],
    min_length: int = 1,
    max_length: int | None = None,
    fill: int = -1,
) -> np.ndarray:
    """Stacks sequences of item numbers, or of what goes with them, padded on the left.

    Args:
        sequences: int32 arrays.
        min_length: int, least width of the result.
        max_length: int, greatest width; older entries are cut.
        fill: int, the padding. Defaults to -1.

    Returns: int32 `(len(sequences), width)`.

    Example:
        >>> left_padded([np.array([1, 2]), np.array([3])]).tolist()
        [[1, 2], [-1, 3]]
    """
    longest = max((len(s) for s in sequences), default=0)
    width = max(longest if max_length is None else min(longest, max_length), min_length)
    padded = np.full((len(sequences), width), fill, dtype=np.int32)
    for row, sequence in enumerate(sequences):
        tail = sequence[max(0, len(sequence) - width) :]
        if len(tail):
            padded[row, width - len(tail) :] = tail
    return padded
