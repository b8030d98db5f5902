"""Confidence intervals of means by resampling users."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

_WEIGHTS_AT_ONCE = 2_000_000


def bootstrap_intervals(
    values: np.ndarray,
    user_ids: Sequence[str] | Sequence[int],
    *,
    samples: int = 1000,
    seed: int = 7,
    confidence: float = 0.95,
) -> np.ndarray:
    """Returns percentile bootstrap intervals of the column means of `values`.

    Users are drawn with replacement, each with all its rows, since rows of one user are not
    independent. The same users and seed give the same draws, so the columns of one call, and
    the models of one report, are compared on the same samples. For the difference of two
    models pass the difference of their values.

    Args:
        values: float `(n, num_metrics)`, one row for each query.
        user_ids: n str or int, the user of each row.
        samples: int >= 1, how often the users are drawn.
        seed: int.
        confidence: float in (0, 1), share of the samples inside the interval.

    Returns: float64 `(num_metrics, 2)`, lower and upper ends; NaN where n = 0.

    Raises: ValueError when the sizes differ, or `samples` or `confidence` are out of range.

    Example:
        >>> values = np.array([[0.0], [1.0], [1.0], [0.0]])
        >>> bootstrap_intervals(values, ["a", "b", "c", "d"], samples=200).tolist()
        [[0.0, 1.0]]

    Reference: Efron and Tibshirani, 1993, An Introduction to the Bootstrap, chapter 13
    """
    values = np.asarray(values, dtype=np.float64)
    if values.ndim != 2 or len(values) != len(user_ids):
        raise ValueError(
            f"`values` must have one row for each of the {len(user_ids)} `user_ids` and one column "
            f"for each metric, got the shape {values.shape}."
        )
    if samples < 1:
        raise ValueError(f"`samples` must be at least 1, got {samples}. Pass 1000, say.")
    if not 0.0 < confidence < 1.0:
        raise ValueError(f"`confidence` must lie in (0, 1), got {confidence}. Pass 0.95, say.")
    if len(values) == 0:
        return np.full((values.shape[1], 2), np.nan)

    names, user_of_row = np.unique(np.asarray(user_ids, dtype=object), return_inverse=True)
    num_users = len(names)
    rows_of_user = np.bincount(user_of_row, minlength=num_users).astype(np.float64)
    sums_of_user = np.zeros((num_users, values.shape[1]))
    np.add.at(sums_of_user, user_of_row, values)

    generator = np.random.default_rng(seed)
    means = np.empty((samples, values.shape[1]))
    block = max(1, _WEIGHTS_AT_ONCE // num_users)
    for start in range(0, samples, block):
        size = min(block, samples - start)
        times_drawn = _draw_with_replacement(generator, size, num_users)
        means[start : start + size] = (times_drawn @ sums_of_user) / (times_drawn @ rows_of_user)[
            :, None
        ]
    tail = (1.0 - confidence) / 2.0
    return np.asarray(np.quantile(means, [tail, 1.0 - tail], axis=0).T)


def _draw_with_replacement(generator: np.random.Generator, size: int, num_users: int) -> np.ndarray:
    """Returns float64 `(size, num_users)`, how often each user was drawn in each sample."""
    drawn = generator.integers(num_users, size=(size, num_users))
    drawn += np.arange(size)[:, None] * num_users
    counts = np.bincount(drawn.ravel(), minlength=size * num_users)
    return counts.reshape(size, num_users).astype(np.float64)
