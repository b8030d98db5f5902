"""Tests of the table of neighbours, in NumPy and in the graph."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import sparse

from tfrec_llm.keras_api import tf
from tfrec_llm.neighbours.neighbour_table import NeighbourTable
from tfrec_llm.retrieval.add_neighbours import AddNeighbours
from tfrec_llm.retrieval.brute_force_index import BruteForceIndex

NUM_ITEMS, DIM = 12, 3


def _world(seed: int) -> tuple[np.ndarray, NeighbourTable, np.ndarray]:
    draw = np.random.default_rng(seed)
    embeddings = draw.normal(size=(NUM_ITEMS, DIM)).astype(np.float32)
    dense = draw.random((NUM_ITEMS, NUM_ITEMS)) * (draw.random((NUM_ITEMS, NUM_ITEMS)) < 0.4)
    np.fill_diagonal(dense, 0.0)
    table = NeighbourTable.from_matrix(sparse.csr_matrix(dense, dtype=np.float32), decay=0.7)
    return embeddings, table, dense


def _by_hand(
    embeddings: np.ndarray, dense: np.ndarray, query: np.ndarray, history: list[int]
) -> np.ndarray:
    scores = embeddings @ query
    known = [item for item in history if item >= 0]
    weights = [0.7 ** (len(known) - 1 - place) for place in range(len(known))]
    for item, weight in zip(known, weights, strict=True):
        scores = scores + weight / sum(weights) * dense[item]
    return scores


def test_the_table_holds_the_matrix_it_was_made_of() -> None:
    _, table, dense = _world(0)
    np.testing.assert_allclose(table.matrix.toarray(), dense, atol=1e-7)
    assert (np.diff(table.weights, axis=1) <= 0).all()


def test_older_items_of_a_history_add_less() -> None:
    _, table, dense = _world(1)
    found = table.scores([np.array([3, -1, 5])]).toarray()[0]
    np.testing.assert_allclose(found, (0.7 * dense[3] + dense[5]) / 1.7, atol=1e-6)


def test_an_empty_table_adds_nothing() -> None:
    table = NeighbourTable.empty(3)
    assert table.is_empty
    assert table.scores([np.array([0, 2])]).nnz == 0


@settings(max_examples=25, deadline=None)
@given(
    seed=st.integers(0, 50),
    histories=st.lists(
        st.lists(st.integers(-1, NUM_ITEMS - 1), unique_by=lambda i: i, min_size=3, max_size=3),
        min_size=1,
        max_size=4,
    ),
    k=st.integers(1, NUM_ITEMS),
)
def test_the_joined_answer_is_that_of_scoring_every_item(
    seed: int, histories: list[list[int]], k: int
) -> None:
    embeddings, table, dense = _world(seed)
    queries = np.random.default_rng(seed + 1).normal(size=(len(histories), DIM))
    queries = queries.astype(np.float32)
    found = BruteForceIndex(embeddings).search(tf.constant(queries), k)
    scores, numbers = AddNeighbours(table)(
        *found, tf.constant(queries), tf.constant(histories), tf.constant(embeddings)
    )
    for row, history in enumerate(histories):
        wanted = _by_hand(embeddings, dense, queries[row], history)
        best = np.argsort(-wanted)[:k]
        assert numbers[row].numpy().tolist() == best.tolist()
        np.testing.assert_allclose(scores[row], wanted[best], atol=1e-5)


def test_rows_without_a_history_keep_what_the_index_found() -> None:
    embeddings, table, _ = _world(3)
    queries = tf.constant(embeddings[:2])
    found = BruteForceIndex(embeddings).search(queries, 4)
    joined = AddNeighbours(table)(*found, queries, tf.constant([[-1], [-1]]), embeddings)
    np.testing.assert_array_equal(joined[1], found[1])
    np.testing.assert_allclose(joined[0], found[0], atol=1e-6)


@pytest.mark.parametrize("batch", [0, 1])
def test_batches_of_no_row_and_histories_of_no_column_are_answered(batch: int) -> None:
    embeddings, table, _ = _world(4)
    queries = tf.zeros((batch, DIM))
    found = BruteForceIndex(embeddings).search(queries, 5)
    scores, numbers = AddNeighbours(table)(
        *found, queries, tf.zeros((batch, 0), tf.int32), embeddings
    )
    assert scores.shape == (batch, 5) and numbers.shape == (batch, 5)
