from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.linear_model import RidgeCV

from tfrec_llm.towers.ridge import STRENGTHS, ridge_regression


def problem(num_rows: int, num_features: int, noise: float, seed: int) -> tuple[np.ndarray, ...]:
    generator = np.random.default_rng(seed)
    features = generator.normal(size=(num_rows, num_features)) / np.sqrt(num_features)
    line = generator.normal(size=(num_features, 3))
    targets = 1.0 + features @ line + noise * generator.normal(size=(num_rows, 3))
    return features, targets, generator.integers(0, 5, size=num_rows).astype(np.float64)


def by_scikit_learn(features, targets, weights) -> tuple[np.ndarray, np.ndarray]:
    rows = weights > 0
    model = RidgeCV(alphas=STRENGTHS)
    model.fit(features[rows], targets[rows], sample_weight=weights[rows])
    return model.coef_.T, model.intercept_


@given(
    num_rows=st.integers(8, 60),
    num_features=st.integers(1, 80),
    noise=st.sampled_from([0.01, 0.3, 3.0]),
    seed=st.integers(0, 10**6),
)
def test_it_is_the_regression_of_scikit_learn(num_rows, num_features, noise, seed):
    features, targets, weights = problem(num_rows, num_features, noise, seed)
    weights[:4] = 1.0  # of two rows each foretells the other alike, whatever the strength
    kernel, bias = ridge_regression(features, targets, weights)
    wanted_kernel, wanted_bias = by_scikit_learn(features, targets, weights)
    np.testing.assert_allclose(kernel, wanted_kernel, rtol=1e-6, atol=1e-7)
    np.testing.assert_allclose(bias, wanted_bias, rtol=1e-6, atol=1e-7)


def test_blocks_of_rows_add_up():
    features, targets, weights = problem(10_000, 4, 0.3, seed=1)
    kernel, bias = ridge_regression(features, targets, weights)
    wanted_kernel, wanted_bias = by_scikit_learn(features, targets, weights)
    np.testing.assert_allclose(kernel, wanted_kernel, rtol=1e-9)
    np.testing.assert_allclose(bias, wanted_bias, rtol=1e-9)


def test_rows_count_alike_without_weights():
    features, targets, _ = problem(30, 5, 0.3, seed=2)
    kernel, bias = ridge_regression(features, targets)
    wanted_kernel, wanted_bias = ridge_regression(features, targets, np.full(30, 1.0))
    np.testing.assert_array_equal(kernel, wanted_kernel)
    np.testing.assert_array_equal(bias, wanted_bias)


@pytest.mark.parametrize("num_features", [3, 40])
def test_features_that_are_all_alike_foretell_the_mean(num_features):
    targets = np.arange(20.0).reshape(10, 2)
    kernel, bias = ridge_regression(np.ones((10, num_features)), targets)
    assert not kernel.any()
    np.testing.assert_allclose(bias, targets.mean(axis=0))


@pytest.mark.parametrize(("weights", "offset"), [([0, 0, 0], 0.0), ([0, 3, 0], 1.0)])
def test_no_line_goes_through_one_row(weights, offset):
    kernel, bias = ridge_regression(np.eye(3), np.eye(3)[:, 1:2], np.array(weights))
    assert not kernel.any()
    assert bias.tolist() == [offset]
