"""Histories with padding on the left, and the same with padding elsewhere."""

from __future__ import annotations

import numpy as np
import pytest

DIM = 4


@pytest.fixture
def history() -> np.ndarray:
    """Unit vectors, float32 `(3, 5, 4)`."""
    vectors = np.random.default_rng(0).normal(size=(3, 5, DIM))
    return (vectors / np.linalg.norm(vectors, axis=-1, keepdims=True)).astype(np.float32)


@pytest.fixture
def left_mask() -> np.ndarray:
    """Bool `(3, 5)`: five items, three items, one item; padding on the left."""
    return np.arange(5)[None, :] >= np.array([[0], [2], [4]])
