"""Log loss: how surprised a model is by what happened."""

from __future__ import annotations

import numpy as np
import sklearn.metrics


def log_loss(labels: np.ndarray, probabilities: np.ndarray) -> float:
    """Returns the mean binary cross-entropy, in nats.

    Args:
        labels: float or int `(n,)`, 1 or 0, at least one.
        probabilities: float `(n,)` in [0, 1], of the label 1; kept 1e-7 away from both ends.

    Returns: float >= 0; 0.693 for a coin.

    Example:
        >>> round(log_loss(np.array([1, 0]), np.array([0.5, 0.5])), 4)
        0.6931
    """
    clipped = np.clip(np.asarray(probabilities, np.float64), 1e-7, 1.0 - 1e-7)
    return float(sklearn.metrics.log_loss(labels, clipped, labels=[0, 1]))
