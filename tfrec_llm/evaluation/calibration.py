"""Calibration: whether what is called 70 % likely happens 70 times in a hundred."""

from __future__ import annotations

from typing import Any

import numpy as np


def calibration(
    labels: np.ndarray, probabilities: np.ndarray, num_bins: int = 10
) -> dict[str, Any]:
    """Returns the expected calibration error and the reliability table behind it.

    The bins are of equal width; the last one holds the probability 1. The error is the mean over
    the pairs of how far, in their bin, the mean probability is from the share of positives.

    Args:
        labels: float or int `(n,)`, 1 or 0, at least one.
        probabilities: float `(n,)` in [0, 1], of the label 1.
        num_bins: int >= 1. Defaults to 10.

    Returns: `expected_calibration_error`, float in [0, 1], and `reliability`, for each bin that
        holds a pair a dict of `from`, `to`, `pairs`, `mean_probability` and `share_of_positives`.

    Raises: ValueError when `num_bins` is below 1, or a probability is outside [0, 1].

    Example:
        >>> table = calibration(np.array([1, 0, 0]), np.array([0.9, 0.4, 0.4]), num_bins=2)
        >>> round(table["expected_calibration_error"], 4), len(table["reliability"])
        (0.3, 2)

    Reference: Naeini et al., 2015, doi:10.1609/aaai.v29i1.9602
    """
    labels = np.asarray(labels, np.float64)
    given = np.asarray(probabilities, np.float64)
    if num_bins < 1:
        raise ValueError(f"`num_bins` must be at least 1, got {num_bins!r}.")
    if not ((given >= 0.0) & (given <= 1.0)).all():
        raise ValueError("`probabilities` must lie in [0, 1]. Give the sigmoid of the logits.")
    bins = np.minimum((given * num_bins).astype(np.int64), num_bins - 1)
    table, error = [], 0.0
    for number in np.unique(bins):
        inside = bins == number
        mean, share = float(given[inside].mean()), float(labels[inside].mean())
        error += float(inside.mean()) * abs(mean - share)
        table.append(
            {
                "from": float(number) / num_bins,
                "to": float(number + 1) / num_bins,
                "pairs": int(inside.sum()),
                "mean_probability": mean,
                "share_of_positives": share,
            }
        )
    return {"expected_calibration_error": error, "reliability": table}
