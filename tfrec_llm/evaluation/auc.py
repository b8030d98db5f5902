"""Area under the ROC curve: how often a positive is scored above a negative."""

from __future__ import annotations

import numpy as np
from sklearn.metrics import roc_auc_score

from tfrec_llm.errors import DataError


def auc(labels: np.ndarray, scores: np.ndarray) -> float:
    """Returns the chance that a random positive has a higher score than a random negative.

    A tie counts half. It depends on the order of the scores alone.

    Args:
        labels: float or int `(n,)`, 1 or 0.
        scores: float `(n,)`, finite.

    Returns: float in [0, 1]; 0.5 is chance.

    Raises: DataError when there is no positive, or no negative.

    Example:
        >>> auc(np.array([1, 0, 0]), np.array([0.8, 0.9, 0.1]))
        0.5
    """
    if len(np.unique(labels)) < 2:
        raise DataError(
            f"AUC compares positives with negatives, but all {len(labels)} pairs are of one kind. "
            "Take more cases, or a corpus with items to sample negatives from."
        )
    return float(roc_auc_score(labels, scores))
