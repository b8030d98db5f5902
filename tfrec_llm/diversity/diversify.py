"""Candidates → the list that is shown. The order of the steps is told here, and only here."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from tfrec_llm.diversity.determinantal_point_process import DeterminantalPointProcess
from tfrec_llm.diversity.knobs import Knobs
from tfrec_llm.diversity.maximal_marginal_relevance import MaximalMarginalRelevance
from tfrec_llm.diversity.pick_greedily import NO_CATEGORY, pick_greedily
from tfrec_llm.diversity.similarity import unit_rows


def diversify(
    scores: np.ndarray,
    embeddings: np.ndarray,
    popularity: np.ndarray,
    k: int,
    knobs: Knobs,
    categories: Sequence[str | None] | None = None,
) -> np.ndarray:
    """Chooses and orders up to `k` of n candidates, always alike for the same input.

    1. Items that shall not be listed (the history, the excluded) are not among the candidates.
    2. Scores are scaled to relevance: the best candidate has 1, the last 0.
    3. Each candidate loses `popularity_penalty` times its popularity, and all are ordered anew.
    4. Items are picked one by one, each the best next one by relevance and unlikeness to those
       picked before, `mmr` or `dpp`; at equal gain the order of step 3 decides.
    5. While picking, a category that has `max_per_category` items is closed, and further down
       items take the places.

    Args:
        scores: float `(n,)`, finite, higher is better.
        embeddings: float `(n, D)`, of the items; only their directions count.
        popularity: float `(n,)` in [0, 1], rows of `log_popularity`.
        k: int >= 1.
        knobs: what is turned how far.
        categories: n texts; None or "" for an item without a category, which is never limited.

    Returns: int64 `(m,)`, rows of the candidates in the order of the list; m is k, or all that
        the candidates and the categories allow.

    Raises: ValueError when sizes differ, a score is not finite or `k` is below 1.

    Example:
        >>> scores, popularity = np.array([0.9, 0.8, 0.1]), np.array([1.0, 0.0, 0.5])
        >>> directions = np.array([[1.0, 0.0], [1.0, 0.1], [0.0, 1.0]])
        >>> diversify(scores, directions, popularity, 2, Knobs(popularity_penalty=0.5)).tolist()
        [1, 0]
        >>> diversify(scores, directions, popularity, 2, Knobs(diversity=0.8)).tolist()
        [0, 2]
    """
    scores = np.asarray(scores, dtype=np.float64)
    _check(scores, embeddings, popularity, k, categories)
    relevance = _scaled(scores) - knobs.popularity_penalty * np.asarray(popularity)
    order = np.argsort(-relevance, kind="stable")
    relevance = relevance[order]
    make = MaximalMarginalRelevance if knobs.method == "mmr" else DeterminantalPointProcess
    gain = make(relevance, unit_rows(np.asarray(embeddings)[order]), knobs.diversity)
    numbers = None if categories is None else _numbered(categories)[order]
    return np.asarray(order[pick_greedily(gain, k, numbers, knobs.max_per_category)])


def _scaled(scores: np.ndarray) -> np.ndarray:
    """Returns scores from 0 to 1; zeros where they are all the same."""
    if len(scores) == 0:
        return scores
    low, high = scores.min(), scores.max()
    return np.asarray((scores - low) / (high - low)) if high > low else np.zeros(len(scores))


def _numbered(categories: Sequence[str | None]) -> np.ndarray:
    """Returns int64 `(n,)`: equal numbers for equal names, `NO_CATEGORY` for none."""
    numbers: dict[str, int] = {}
    return np.array(
        [numbers.setdefault(name, len(numbers)) if name else NO_CATEGORY for name in categories],
        dtype=np.int64,
    )


def _check(
    scores: np.ndarray,
    embeddings: np.ndarray,
    popularity: np.ndarray,
    k: int,
    categories: Sequence[str | None] | None,
) -> None:
    if k < 1:
        raise ValueError(f"`k` must be at least 1, got {k}.")
    if not np.isfinite(scores).all():
        raise ValueError("`scores` hold NaN or infinity. Leave out what must not be listed.")
    sizes = {"embeddings": len(embeddings), "popularity": len(popularity)}
    if categories is not None:
        sizes["categories"] = len(categories)
    for name, size in sizes.items():
        if size != len(scores):
            raise ValueError(f"`{name}` must have one row for each of {len(scores)} scores: {size}")
