from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tfrec_llm.errors import UsageError
from tfrec_llm.keras_api import tf
from tfrec_llm.retrieval.brute_force_index import BruteForceIndex
from tfrec_llm.retrieval.scann_index import ScannIndex

LOWEST = np.finfo(np.float32).min


@settings(deadline=None, max_examples=60)
@given(
    num_items=st.integers(1, 30),
    num_queries=st.integers(0, 4),
    k=st.integers(0, 35),
    max_scores=st.integers(1, 150),
    seed=st.integers(0, 999),
)
def test_answers_are_those_of_a_numpy_sort_whatever_the_block_size(
    num_items: int, num_queries: int, k: int, max_scores: int, seed: int
) -> None:
    draw = np.random.default_rng(seed)
    # Small whole numbers: many ties, and no rounding.
    rows = draw.integers(-2, 3, size=(num_items, 3)).astype(np.float32)
    queries = draw.integers(-2, 3, size=(num_queries, 3)).astype(np.float32)

    scores, numbers = BruteForceIndex(rows, max_scores).search(tf.constant(queries), tf.constant(k))

    exact = queries @ rows.T
    order = np.argsort(-exact, axis=1, kind="stable")[:, :k]
    width = order.shape[1]
    assert scores.shape == numbers.shape == (num_queries, k)
    np.testing.assert_array_equal(numbers[:, :width], order)
    np.testing.assert_array_equal(scores[:, :width], np.take_along_axis(exact, order, axis=1))
    assert (numbers.numpy()[:, width:] == -1).all()
    assert (scores.numpy()[:, width:] == LOWEST).all()


@pytest.mark.parametrize("kind", [BruteForceIndex, ScannIndex])
@pytest.mark.parametrize("dim", [8, 100, 257])
@pytest.mark.parametrize("num_items", [5, 33, 1000])
def test_equal_candidates_come_in_order_whatever_the_batch(
    kind: Any, num_items: int, dim: int
) -> None:
    draw = np.random.default_rng(num_items)
    row, query = draw.normal(size=(2, 1, dim)).astype(np.float32)
    index = kind(np.tile(row, (num_items, 1)))
    for batch in (1, 2, 3, 9, 32):
        _, numbers = index.search(tf.constant(np.tile(query, (batch, 1))), num_items)
        np.testing.assert_array_equal(numbers, np.tile(np.arange(num_items), (batch, 1)))


def test_one_graph_serves_every_k_and_batch() -> None:
    index = BruteForceIndex(np.eye(4, dtype=np.float32))
    search = tf.function(
        index.search,
        input_signature=[tf.TensorSpec([None, 4], tf.float32), tf.TensorSpec([], tf.int32)],
    )
    for batch, k in ((0, 1), (1, 2), (3, 9)):
        scores, numbers = search(tf.ones((batch, 4)), k)
        assert scores.shape == numbers.shape == (batch, k)


def test_a_query_that_is_not_a_number_finds_nothing_and_gives_no_nan() -> None:
    scores, numbers = BruteForceIndex(np.eye(2, dtype=np.float32)).search(
        tf.constant([[np.nan, 0.0], [1.0, 0.0]]), 2
    )
    assert numbers.numpy().tolist() == [[-1, -1], [0, 1]]
    assert np.isfinite(scores).all()


def test_embeddings_with_nan_are_refused_with_their_row() -> None:
    rows = np.ones((3, 2), np.float32)
    rows[1, 0] = np.nan
    with pytest.raises(UsageError, match="1 of 3 candidates hold NaN.*row 1"):
        BruteForceIndex(rows)


def test_an_empty_corpus_is_refused() -> None:
    with pytest.raises(UsageError, match="at least one candidate"):
        BruteForceIndex(np.zeros((0, 4), np.float32))
