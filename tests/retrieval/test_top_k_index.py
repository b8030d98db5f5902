"""Tests of what the kinds of index share, where candidates are equal."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tfrec_llm.keras_api import tf
from tfrec_llm.retrieval.top_k_index import dot_products, first_equal_rows


@settings(deadline=None, max_examples=60)
@given(num_rows=st.integers(1, 40), dim=st.integers(1, 3), seed=st.integers(0, 999))
def test_the_first_of_equal_rows_is_found(num_rows: int, dim: int, seed: int) -> None:
    rows = np.random.default_rng(seed).integers(0, 3, size=(num_rows, dim)).astype(np.float32)
    expected = [np.flatnonzero((rows == row).all(axis=1))[0] for row in rows]
    assert first_equal_rows(rows).tolist() == expected


def test_rows_that_only_share_a_hash_stay_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pl.DataFrame, "hash_rows", lambda self: pl.Series([7] * len(self)))
    rows = np.array([[1.0], [2.0], [1.0], [2.0]], np.float32)
    assert first_equal_rows(rows).tolist() == [0, 1, 0, 3]


@pytest.mark.parametrize("dim", [3, 100, 384])
def test_equal_rows_have_equal_dot_products(dim: int) -> None:
    row, query = np.random.default_rng(dim).normal(size=(2, dim)).astype(np.float32)
    for num_rows in (5, 33, 65):
        products = dot_products(np.tile(row, (num_rows, 1)), tf.constant(query)).numpy()
        assert len(set(products.tolist())) == 1
        np.testing.assert_allclose(products[0], row @ query, rtol=1e-5, atol=1e-5)
