"""Shares of the clicks → popularity from 0 to 1, on a logarithmic scale."""

from __future__ import annotations

import numpy as np


def log_popularity(shares: np.ndarray) -> np.ndarray:
    """Returns how popular each item is: 0 for the least, 1 for the most popular of the corpus.

    Between them lies `log(share + smallest share above 0)`, about the logarithm of the clicks
    plus one, so that items without clicks have a place too. The scale is that of the whole
    corpus: an item counts alike in every list.

    Args:
        shares: float `(num_items,)`, each item's share of the training interactions, >= 0.

    Returns: float64 `(num_items,)` in [0, 1]; zeros where all items are equally popular.

    Raises: ValueError when a share is negative, NaN or infinite.

    Example:
        >>> log_popularity(np.array([0.0, 0.125, 0.875])).round(3).tolist()
        [0.0, 0.333, 1.0]
    """
    shares = np.asarray(shares, dtype=np.float64)
    if not (np.isfinite(shares).all() and (shares >= 0).all()):
        raise ValueError("`shares` must be finite and not negative; give shares of the clicks.")
    positive = shares[shares > 0]
    if len(positive) == 0:
        return np.zeros(len(shares))
    logs = np.log(shares + positive.min())
    low, high = logs.min(), logs.max()
    return np.asarray((logs - low) / (high - low)) if high > low else np.zeros(len(shares))
