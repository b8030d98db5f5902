"""Starts of a matrix factorisation: alternating least squares on the clicks, or random vectors.

The start from ALS, in this order:

1. The factors of `implicit`, users and items alike, scaled so that entries are about 1: an
   optimiser whose steps have one size for all weights would otherwise wipe the start out.
2. The text part is the ridge regression of the factors of clicked items on the text features: the
   vector that a text foretells. It is all that a new item has.
3. The id part is what is left, factors - text part; zeros for an item without clicks.
"""

from __future__ import annotations

import math

import numpy as np

from tfrec_llm.baselines.implicit_package import implicit_module, one_blas_thread
from tfrec_llm.baselines.interactions import Interactions
from tfrec_llm.models.factor_start import FactorStart
from tfrec_llm.towers.ridge import ridge_regression

_ITERATIONS = 15
_MIN_ENTRY = 1e-6


def als_start(
    interactions: Interactions,
    text_features: np.ndarray,
    embedding_dim: int,
    *,
    confidence: float = 10.0,
    regularisation: float = 0.01,
    seed: int = 0,
) -> FactorStart:
    """Factorises the training pairs and foretells the factors from the texts.

    Args:
        interactions: the training pairs.
        text_features: float32 `(num_items, feature_dim)`, as a text encoder gives them.
        embedding_dim: int, number of factors.
        confidence: float ≥ 1, weight of an item taken against 1 for one not taken.
        regularisation: float > 0.
        seed: int, of the random start of the factorisation.

    Returns: `FactorStart`; its fold-in solves what the factorisation solved for its users.

    Raises: MissingPackageError when `implicit` is not installed.

    Example:
        >>> import polars as pl
        >>> frame = pl.DataFrame({"user_id": ["u", "u", "v"], "item_number": [0, 1, 2]})
        >>> pairs = Interactions.from_frame(frame, num_items=4)
        >>> start = als_start(pairs, np.eye(4, 8, dtype=np.float32), 2)
        >>> start.user_table.shape, start.id_table[3].tolist()
        ((2, 2), [0.0, 0.0])

    Reference: Hu et al., 2008, doi:10.1109/ICDM.2008.22
    """
    module = implicit_module("als", "the start `als` of a matrix factorisation")
    with one_blas_thread():
        model = module.AlternatingLeastSquares(
            factors=embedding_dim,
            regularization=regularisation,
            alpha=confidence,
            iterations=_ITERATIONS,
            random_state=seed,
            use_gpu=False,
        )
        model.fit(interactions.matrix, show_progress=False)
    items = np.asarray(model.item_factors, np.float64)
    users = np.asarray(model.user_factors, np.float64)
    clicked = interactions.item_counts > 0
    item_scale = 1.0 / max(_MIN_ENTRY, float(np.sqrt(np.square(items[clicked]).mean())))
    user_scale = 1.0 / max(_MIN_ENTRY, float(np.sqrt(np.square(users).mean())))
    targets = items * item_scale

    centred, centre = _centred(text_features)
    kernel, bias = _regression(centred[clicked], targets[clicked])
    id_table = np.where(clicked[:, None], targets - (centred @ kernel + bias), 0.0)
    mean_square = float(np.square(items).sum()) / embedding_dim
    return FactorStart(
        user_table=(users * user_scale).astype(np.float32),
        id_table=id_table.astype(np.float32),
        centre=centre.astype(np.float32),
        kernel=kernel.astype(np.float32),
        bias=bias.astype(np.float32),
        score_scale=1.0 / (item_scale * user_scale),
        confidence=confidence,
        regularisation=regularisation / max(_MIN_ENTRY, mean_square),
    )


def random_start(
    num_users: int, text_features: np.ndarray, embedding_dim: int, seed: int = 0
) -> FactorStart:
    """Returns a start of small random ids; the text part starts at zero.

    Args:
        num_users: int.
        text_features: float32 `(num_items, feature_dim)`.
        embedding_dim: int.
        seed: int.

    Returns: `FactorStart`.

    Example:
        >>> random_start(2, np.eye(3, 8, dtype=np.float32), 4).id_table.shape
        (3, 4)
    """
    generator = np.random.default_rng(seed)
    scale = 0.3 / math.sqrt(math.sqrt(embedding_dim))  # products of about 0.1

    def table(rows: int) -> np.ndarray:
        return (scale * generator.normal(size=(rows, embedding_dim))).astype(np.float32)

    num_items, feature_dim = text_features.shape
    return FactorStart(
        user_table=table(num_users),
        id_table=table(num_items),
        centre=_centred(text_features)[1].astype(np.float32),
        kernel=np.zeros((feature_dim, embedding_dim), np.float32),
        bias=np.zeros(embedding_dim, np.float32),
    )


def _centred(text_features: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Returns the features as `TextProjection` sees them, and the centre."""
    rows = np.asarray(text_features, np.float64)
    norms = np.linalg.norm(rows, axis=1, keepdims=True)
    unit = rows / np.where(norms > 1e-6, norms, 1.0)
    centre = unit.mean(axis=0) if len(unit) else np.zeros(rows.shape[1])
    return unit - centre, centre


def _regression(features: np.ndarray, targets: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Returns the kernel and bias of a ridge regression, zeros where no text says anything."""
    if len(features) < 2 or np.abs(features).max() < _MIN_ENTRY:
        num_targets = targets.shape[1]
        return np.zeros((features.shape[1], num_targets)), np.zeros(num_targets)
    return ridge_regression(features, targets)
