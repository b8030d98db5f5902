from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import sparse

from tfrec_llm.keras_api import tf
from tfrec_llm.towers.fold_in import fold_in, inverse_gram

ITEMS = np.random.default_rng(3).normal(size=(12, 5)).astype(np.float32)


def solved(items: np.ndarray, taken: list[int], confidence: float, ridge: float) -> np.ndarray:
    """The normal equations of implicit-feedback ALS, as the paper writes them."""
    weights = np.ones(len(items))
    for item in taken:
        weights[item] += confidence - 1.0
    preferred = np.isin(np.arange(len(items)), taken).astype(float)
    system = (items.T * weights) @ items + ridge * np.eye(items.shape[1])
    return np.linalg.solve(system, items.T @ (weights * preferred))


def folded(histories: list[list[int]], confidence: float, ridge: float, pad: int = 0) -> np.ndarray:
    width = max(len(h) for h in histories) + pad
    numbers = np.array([[-1] * (width - len(h)) + h for h in histories], np.int32)
    numbers = numbers.reshape(len(histories), width)
    rows = tf.constant(ITEMS[np.maximum(numbers, 0)])
    covariance = tf.constant(inverse_gram(ITEMS, ridge))
    return fold_in(rows, tf.constant(numbers >= 0), covariance, confidence).numpy()


@pytest.mark.parametrize("confidence", [1.0, 10.0, 40.0])
def test_a_user_solves_the_normal_equations(confidence: float) -> None:
    histories = [[0], [3, 7, 11], [1, 2, 4, 5, 6, 8, 9]]
    for row, history in zip(folded(histories, confidence, 0.5), histories, strict=True):
        np.testing.assert_allclose(row, solved(ITEMS, history, confidence, 0.5), atol=1e-4)


def test_a_user_is_the_one_that_implicit_solves() -> None:
    als = pytest.importorskip("implicit.als")
    model = als.AlternatingLeastSquares(factors=5, regularization=0.3, alpha=10.0, use_gpu=False)
    model.item_factors = ITEMS
    taken = np.zeros((2, 12), np.float32)
    taken[0, [3, 7]] = taken[1, [0, 1, 2]] = 1.0
    expected = model.recalculate_user(np.arange(2), sparse.csr_matrix(taken))
    np.testing.assert_allclose(folded([[3, 7], [0, 1, 2]], 10.0, 0.3), expected, atol=1e-4)


def test_no_history_gives_zeros() -> None:
    rows, mask = tf.zeros((2, 0, 5)), tf.zeros((2, 0), tf.bool)
    users = fold_in(rows, mask, tf.eye(5), 10.0).numpy()
    np.testing.assert_array_equal(users, np.zeros((2, 5)))


def test_what_stands_in_a_masked_slot_does_not_count() -> None:
    rows, mask = tf.constant(ITEMS[None, :3]), tf.constant([[True, False, False]])
    other = tf.constant(np.concatenate([ITEMS[None, :1], 1e6 * ITEMS[None, 1:3]], axis=1))
    covariance = tf.constant(inverse_gram(ITEMS, 1.0))
    np.testing.assert_allclose(
        fold_in(rows, mask, covariance, 10.0), fold_in(other, mask, covariance, 10.0), atol=1e-6
    )


@settings(max_examples=30, deadline=None)
@given(
    history=st.lists(st.integers(0, 11), max_size=9),
    pad=st.integers(0, 3),
    scale=st.sampled_from([0.0, 1e-4, 1.0, 1e4]),
)
def test_any_history_of_vectors_of_any_length_is_finite(
    history: list[int], pad: int, scale: float
) -> None:
    items = scale * ITEMS
    numbers = np.array([-1] * pad + history, np.int32)[None]
    users = fold_in(
        tf.constant(items[np.maximum(numbers, 0)]),
        tf.constant(numbers >= 0),
        tf.constant(inverse_gram(items, 1e-6)),
        40.0,
    ).numpy()
    assert users.shape == (1, 5) and np.isfinite(users).all()


def test_order_does_not_count() -> None:
    one, other = folded([[1, 5, 9]], 10.0, 0.1), folded([[9, 1, 5]], 10.0, 0.1)
    np.testing.assert_allclose(one, other, atol=1e-5)
