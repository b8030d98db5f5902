"""Tries a few starts of a matrix factorisation on the validation set."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from tfrec_llm.baselines.interactions import Interactions
from tfrec_llm.models.matrix_factorisation import MatrixFactorisation
from tfrec_llm.progress import Progress, Silent
from tfrec_llm.trainer.factor_starts import als_start, random_start

CONFIDENCES = (10.0, 1.0)
REGULARISATIONS = (0.01, 10.0)


@dataclass(frozen=True)
class ChosenFactorStart:
    """Settings of a start.

    Attributes:
        kind: `als` or `random`.
        confidence: float ≥ 1, see `als_start`; 0 for a random start.
        regularisation: float > 0, see `als_start`; 0 for a random start.
        validation_ndcg: float, NDCG@10 of the untrained model.
    """

    kind: str
    confidence: float
    regularisation: float
    validation_ndcg: float


def choose_factor_start(
    model: MatrixFactorisation,
    interactions: Interactions,
    corpus_features: np.ndarray,
    evaluate: Callable[[], float],
    *,
    kind: str = "als",
    seed: int = 0,
    progress: Progress | None = None,
) -> ChosenFactorStart:
    """Sets a model to the start with the best validation NDCG@10 and says which one it was.

    Args:
        model: `MatrixFactorisation`; left at the chosen start.
        interactions: the training pairs, users in the order of the model's table.
        corpus_features: float32 `(num_items, feature_dim)`.
        evaluate: returns the validation NDCG@10 of the model as it stands.
        kind: `als` or `random`, of which there is but one. Defaults to `als`.
        seed: int, of the factorisation or the random vectors.
        progress: listener.

    Returns: `ChosenFactorStart`.

    Raises: MissingPackageError when `implicit` is not installed, with kind `als`.
    """
    progress = progress or Silent()
    best: ChosenFactorStart | None = None
    grid = [(c, r) for r in REGULARISATIONS for c in CONFIDENCES] if kind == "als" else [(0.0, 0.0)]
    for done, (confidence, regularisation) in enumerate(grid, start=1):
        tried = ChosenFactorStart(kind, confidence, regularisation, 0.0)
        set_factor_start(model, interactions, corpus_features, tried, seed=seed)
        tried = ChosenFactorStart(kind, confidence, regularisation, evaluate())
        if best is None or tried.validation_ndcg > best.validation_ndcg:
            best = tried
        progress.advance(
            "choose start", done, len(grid), f"best NDCG@10 {best.validation_ndcg:.4f}"
        )
    assert best is not None
    set_factor_start(model, interactions, corpus_features, best, seed=seed)
    return best


def set_factor_start(
    model: MatrixFactorisation,
    interactions: Interactions,
    corpus_features: np.ndarray,
    chosen: ChosenFactorStart,
    *,
    seed: int = 0,
) -> None:
    """Sets a model to a start of which the settings are known; arguments as above."""
    if chosen.kind == "als":
        start = als_start(
            interactions,
            corpus_features,
            model.embedding_dim,
            confidence=chosen.confidence,
            regularisation=chosen.regularisation,
            seed=seed,
        )
    else:
        num_users = len(interactions.user_ids)
        start = random_start(num_users, corpus_features, model.embedding_dim, seed)
    model.set_start(start)
