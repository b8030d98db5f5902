from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tfrec_llm.keras_api import tf
from tfrec_llm.towers.unit_length import unit_length


@given(st.integers(0, 2**31), st.floats(1e-4, 1e8))
def test_vectors_of_any_size_come_out_with_length_one(seed: int, size: float) -> None:
    vectors = np.random.default_rng(seed).normal(size=(2, 3, 4)) * size
    found = np.asarray(unit_length(tf.constant(vectors, tf.float32)))
    np.testing.assert_allclose(np.linalg.norm(found, axis=-1), 1.0, atol=1e-4)
    np.testing.assert_allclose(
        found, vectors / np.linalg.norm(vectors, axis=-1, keepdims=True), atol=1e-4
    )


def test_a_zero_vector_stays_zero_with_a_finite_gradient() -> None:
    zero = tf.zeros((1, 3))
    with tf.GradientTape() as tape:
        tape.watch(zero)
        unit = unit_length(zero)
    assert not np.any(unit)
    assert np.isfinite(tape.gradient(unit, zero)).all()


@pytest.mark.parametrize("shape", [(0, 3), (2, 0, 3)])
def test_no_vectors_give_no_vectors(shape: tuple[int, ...]) -> None:
    assert unit_length(tf.zeros(shape)).shape == shape
