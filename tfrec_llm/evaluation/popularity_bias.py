"""Whether users are shown more popular items than they choose themselves."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from tfrec_llm.evaluation.novelty import mean_of_listed


def popularity_bias_at_k(
    lists: np.ndarray, k: int, histories: Sequence[np.ndarray], training_counts: np.ndarray
) -> float | None:
    """Returns the mean popularity of the recommended, relative to that of the histories.

    1 means that users get items as popular as those they took themselves, 3 three times as
    popular ones. Only queries that have both a history and a list count.

    Args:
        lists: int `(n, length)`, item numbers, best first, -1 = nothing there.
        k: int >= 1.
        histories: n int arrays of item numbers; -1 (unknown) is left out.
        training_counts: int `(num_items,)`, interactions of each item in training.

    Returns: float >= 0; None where no query has a history, or all histories have popularity 0.

    Example:
        >>> popularity_bias_at_k(np.array([[0]]), 1, [np.array([1, 2])], np.array([6, 2, 4]))
        2.0

    Reference: Abdollahpouri et al., 2019, arXiv:1907.13286
    """
    counts = np.asarray(training_counts, dtype=np.float64)
    known = [np.asarray(history)[np.asarray(history) >= 0] for history in histories]
    rows = [i for i, history in enumerate(known) if len(history) and (lists[i, :k] >= 0).any()]
    if not rows:
        return None
    chosen = float(np.mean([counts[known[i]].mean() for i in rows]))
    shown = float(mean_of_listed(counts, lists[rows, :k]).mean())
    return shown / chosen if chosen > 0 else None
