"""Which token vectors are padding."""

from __future__ import annotations

from typing import Any

import numpy as np

from tfrec_llm.keras_api import keras


def mask_of_features(features: Any) -> Any:
    """Returns which token vectors stand for a token, bool `(batch, tokens)`; zeros are padding.

    Args:
        features: float `(batch, tokens, dim)`.
    """
    return keras.ops.any(features != 0, axis=-1)


def mean_of_tokens(features: np.ndarray) -> np.ndarray:
    """Returns one vector a text, whatever the features are; never trained.

    Args:
        features: float `(n, dim)`, which come back as they are, or `(n, tokens, dim)`.

    Returns: float `(n, dim)`.

    Example:
        >>> mean_of_tokens(np.array([[[1.0], [3.0], [0.0]]])).tolist()
        [[2.0]]
    """
    if features.ndim == 2:
        return features
    num_tokens = features.any(axis=2).sum(axis=1, keepdims=True)
    total = features.sum(axis=1, dtype=np.float32)
    return np.asarray(total / np.maximum(num_tokens, 1), np.float32)
