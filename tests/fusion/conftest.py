from __future__ import annotations

import numpy as np
import pytest


@pytest.fixture
def tokens() -> np.ndarray:
    return np.random.default_rng(1).normal(size=(4, 5, 6)).astype(np.float32)


@pytest.fixture
def padding_mask() -> np.ndarray:
    """Padding on the right, in the middle, everywhere and on the left."""
    return np.array([[1, 1, 1, 0, 0], [1, 0, 1, 1, 0], [0, 0, 0, 0, 0], [0, 0, 1, 1, 1]], np.int32)


@pytest.fixture
def token_ids() -> np.ndarray:
    return np.array([[0, 1, 2, 0, 0], [3, 0, 3, 2, 0], [0, 0, 0, 0, 0], [0, 0, 1, 1, 3]], np.int32)
