"""A long history → windows, so that all of it trains."""

from __future__ import annotations

import numpy as np


def history_windows(items: np.ndarray, max_history: int) -> list[np.ndarray]:
    """Cuts a history into windows of `max_history` inputs and the item that follows them.

    The newest items fill the first window; each item but the oldest is foretold in exactly one of
    them.

    Args:
        items: int32 `(n,)`, item numbers, oldest first.
        max_history: int >= 1, items that a model sees at most.

    Returns: int32 arrays of at most `max_history + 1` items, the newest first; an array of one
        item only where the history has no other.

    Example:
        >>> [window.tolist() for window in history_windows(np.array([1, 2, 3, 4]), 2)]
        [[2, 3, 4], [1, 2]]
    """
    windows = []
    for end in range(len(items), 0, -max_history):
        window = items[max(0, end - max_history - 1) : end]
        if len(window) > 1 or end == len(items):
            windows.append(window)
    return windows
