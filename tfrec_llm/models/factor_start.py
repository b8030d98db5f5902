"""Where a matrix factorisation starts from."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class FactorStart:
    """Weights that a matrix factorisation starts from.

    Attributes:
        user_table: float32 `(num_users, embedding_dim)`.
        id_table: float32 `(num_items, embedding_dim)`, what is added to the text part.
        centre: float32 `(feature_dim,)`, mean of the unit-length text features.
        kernel: float32 `(feature_dim, embedding_dim)`, text part: linear map.
        bias: float32 `(embedding_dim,)`, text part: offset.
        score_scale: float > 0, user · item times this is what the loss sees as a score.
        confidence: float ≥ 1, of the fold-in.
        regularisation: float > 0, of the fold-in, as a share of the mean square of a column.
    """

    user_table: np.ndarray
    id_table: np.ndarray
    centre: np.ndarray
    kernel: np.ndarray
    bias: np.ndarray
    score_scale: float = 1.0
    confidence: float = 10.0
    regularisation: float = 0.01
