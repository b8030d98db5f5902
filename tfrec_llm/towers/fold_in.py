"""A user as the answer of a ridge regression on the items of a history."""

from __future__ import annotations

from typing import Any

import numpy as np

from tfrec_llm.keras_api import tf


def fold_in(item_embeddings: Any, mask: Any, item_covariance: Any, confidence: float) -> Any:
    """Solves the vectors of users from the items that they took, as implicit-feedback ALS does.

    A user u wants u · v = 1 of the items taken, with weight `confidence`, u · v = 0 of all
    others, with weight 1, and to be short. With V the rows taken, w = confidence - 1 and C the
    inverse of (sum of v vᵀ over all items + regularisation · I), the answer is
    confidence · C Vᵀ (I + w V C Vᵀ)⁻¹ 1: a system as wide as the history, whose eigenvalues are 1
    or more, so that it can be solved whatever the vectors are. Order does not count.

    Args:
        item_embeddings: float32 `(batch, length, dim)`.
        mask: bool `(batch, length)`, True for an item.
        item_covariance: float32 `(dim, dim)`, from `inverse_gram`.
        confidence: float ≥ 1, weight of an item taken.

    Returns: float32 `(batch, dim)`, zeros where nothing was taken.

    Example:
        >>> items = tf.constant([[[1.0, 0.0]]])
        >>> users = fold_in(items, tf.constant([[True]]), 0.5 * tf.eye(2), confidence=3.0)
        >>> users.numpy().round(4).tolist()
        [[0.75, 0.0]]

    Reference: Hu et al., 2008, doi:10.1109/ICDM.2008.22
    """
    taken = tf.cast(mask, item_embeddings.dtype)
    rows = item_embeddings * taken[:, :, None]
    spread = tf.einsum("bhd,de->bhe", rows, item_covariance)
    likeness = tf.matmul(rows, spread, transpose_b=True)
    system = tf.eye(tf.shape(rows)[1]) + (confidence - 1.0) * likeness
    weights = tf.linalg.cholesky_solve(tf.linalg.cholesky(system), confidence * taken[:, :, None])
    return tf.squeeze(tf.matmul(spread, weights, transpose_a=True), axis=-1)


def inverse_gram(item_embeddings: np.ndarray, regularisation: float) -> np.ndarray:
    """Returns the inverse of (sum of v vᵀ over all items + regularisation · I).

    Args:
        item_embeddings: float `(num_items, dim)`.
        regularisation: float > 0.

    Returns: float32 `(dim, dim)`, symmetric.

    Example:
        >>> inverse_gram(np.eye(2), regularisation=1.0).tolist()
        [[0.5, 0.0], [0.0, 0.5]]
    """
    rows = np.asarray(item_embeddings, dtype=np.float64)
    inverse = np.linalg.inv(rows.T @ rows + regularisation * np.eye(rows.shape[1]))
    return (0.5 * (inverse + inverse.T)).astype(np.float32)
