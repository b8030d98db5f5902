"""Histories → how much a step of training counts by the item it starts from."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from scipy.optimize import brentq

from tfrec_llm.prior.item_prior import PriorParts

_FOLDS = 5
_MOST_SPREADS = 3.0  # nothing is taken to lie further from the mean, in standard deviations
_MOST_STRENGTH = 5.0
_LEAST_EFFECTIVE_SHARE = 0.5
_ERRORS_OFF = 2.0


def late_context_weights(
    histories: Sequence[np.ndarray], num_items: int, *, seed: int = 0
) -> np.ndarray:
    """Weighs steps so that they start, on the whole, from items as late as histories end with.

    Every step of a history trains, but what is asked is only ever how it goes on from its end, and
    ends stand later than the rest where a corpus changes. Weights that grow exponentially with
    the lateness of the item before a step are, of all that bring the two means together, those
    nearest to even ones. How late a history's items stand is told by the histories of others: its
    own would place its last item late whatever it is. A difference that chance could have made
    gives no weight, and no weights leave less than half of the steps' worth.

    Args:
        histories: int arrays of item numbers, oldest first.
        num_items: int, size of the corpus.
        seed: int, of the parts that histories are divided into.

    Returns: float32 `(num_items,)`, the weight of a step from each item, 1 in the mean over steps;
        ones where there is nothing to tell it by.

    Example:
        >>> newer = [np.array([week, week + 1]) for week in range(9)] * 20
        >>> old, new = late_context_weights([*newer, *[np.arange(10)] * 20], 10)[[0, 8]]
        >>> bool(old < 1.0 < new)
        True

    Reference: Shimodaira, 2000, doi:10.1016/S0378-3758(00)00115-4 (weights under covariate shift);
    Hainmueller, 2012, doi:10.1093/pan/mpr025 (weights that balance means, nearest to even ones)
    """
    even = np.ones(num_items, np.float32)
    walks = [history for history in histories if len(history) > 1]
    if len(walks) < 2 * _FOLDS:
        return even
    contexts, ends = _out_of_fold_lateness(walks, num_items, seed)
    error = float(ends.std()) / np.sqrt(len(ends))
    shift = float(ends.mean() - contexts.mean()) - _ERRORS_OFF * error
    if shift <= 0.0:
        return even
    strength = _strength(contexts, float(contexts.mean()) + shift)
    weights = np.exp(strength * _lateness(histories, num_items))
    starts = np.concatenate([walk[:-1] for walk in walks])
    return np.asarray(weights / weights[starts].mean(), np.float32)


def _out_of_fold_lateness(
    walks: Sequence[np.ndarray], num_items: int, seed: int
) -> tuple[np.ndarray, np.ndarray]:
    """Returns how late steps start and walks end, each by what the walks of other parts say."""
    folds = np.random.default_rng(seed).permutation(len(walks)) % _FOLDS
    contexts, ends = [], []
    for fold in range(_FOLDS):
        others = [walk for walk, own in zip(walks, folds, strict=True) if own != fold]
        place = _lateness(others, num_items)
        for walk in (walk for walk, own in zip(walks, folds, strict=True) if own == fold):
            contexts.append(place[walk[:-1]])
            ends.append(place[walk[-1]])
    return np.concatenate(contexts), np.array(ends)


def _lateness(histories: Sequence[np.ndarray], num_items: int) -> np.ndarray:
    parts = PriorParts.from_histories(histories, num_items)
    return np.clip(parts.lateness.astype(np.float64), -_MOST_SPREADS, _MOST_SPREADS)


def _strength(contexts: np.ndarray, wanted: float) -> float:
    """Returns the exponent that brings the weighted mean of contexts to what is wanted."""

    def weights(strength: float) -> np.ndarray:
        return np.asarray(np.exp(strength * (contexts - contexts.max())))

    def mean_left(strength: float) -> float:
        return wanted - float(np.average(contexts, weights=weights(strength)))

    def effective_left(strength: float) -> float:
        of_steps = weights(strength)
        share = of_steps.sum() ** 2 / np.square(of_steps).sum() / len(of_steps)
        return float(share) - _LEAST_EFFECTIVE_SHARE

    return min(_first_zero(mean_left), _first_zero(effective_left))


def _first_zero(falling: Callable[[float], float]) -> float:
    if falling(_MOST_STRENGTH) > 0.0:
        return _MOST_STRENGTH
    return float(brentq(falling, 0.0, _MOST_STRENGTH, xtol=1e-6))
