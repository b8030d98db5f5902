"""Tests of the index in TensorFlow's own ops."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tfrec_llm.errors import UsageError
from tfrec_llm.keras_api import tf
from tfrec_llm.retrieval.index_recall import index_recall
from tfrec_llm.retrieval.ivf_index import IvfIndex

LOWEST = np.finfo(np.float32).min


def _unit(num_rows: int, dim: int = 8, seed: int = 0) -> np.ndarray:
    rows = np.random.default_rng(seed).normal(size=(num_rows, dim)).astype(np.float32)
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def _search(index: IvfIndex, queries: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
    scores, numbers = index.search(tf.constant(queries), tf.constant(k))
    return scores.numpy(), numbers.numpy()


@pytest.mark.parametrize("num_items", [1, 2, 5, 40])
@pytest.mark.parametrize("options", [{}, {"num_lists": 1}])
def test_corpora_of_any_size_are_answered_in_full(num_items: int, options: dict[str, int]) -> None:
    rows, queries = _unit(num_items), _unit(3, seed=1)
    scores, numbers = _search(IvfIndex(rows, **options), queries, num_items + 2)
    exact = queries @ rows.T
    order = np.argsort(-exact, axis=1)
    np.testing.assert_array_equal(numbers, np.pad(order, ((0, 0), (0, 2)), constant_values=-1))
    np.testing.assert_allclose(scores[:, :-2], np.take_along_axis(exact, order, axis=1), atol=1e-6)
    assert (scores[:, -2:] == LOWEST).all()


@settings(max_examples=25, deadline=None)
@given(num_lists=st.integers(1, 30), k=st.integers(0, 62), seed=st.integers(0, 99))
def test_k_different_candidates_come_with_their_exact_scores(
    num_lists: int, k: int, seed: int
) -> None:
    rows, queries = _unit(60, seed=seed), _unit(4, seed=seed + 100)
    index = IvfIndex(rows, num_lists=num_lists, num_lists_to_search=1, seed=seed)
    scores, numbers = _search(index, queries, k)
    assert scores.shape == (4, k) and np.isfinite(scores).all()
    assert (np.diff(scores, axis=1) <= 0).all()
    for query, row_scores, row in zip(queries, scores, numbers, strict=True):
        found = row[row >= 0]
        assert len(found) == len(set(found.tolist())) == min(k, 60)
        np.testing.assert_allclose(row_scores[: len(found)], rows[found] @ query, atol=1e-6)


def test_all_lists_searched_is_exact() -> None:
    rows, queries = _unit(2000), _unit(20, seed=1)
    index = IvfIndex(rows, num_lists=40, num_lists_to_search=40)
    _, numbers = _search(index, queries, 5)
    np.testing.assert_array_equal(numbers, np.argsort(-(queries @ rows.T), axis=1)[:, :5])


def test_as_few_lists_are_searched_as_reach_the_wanted_recall() -> None:
    rows, queries = _unit(4000), _unit(200, seed=1)
    rough, fine = (IvfIndex(rows, 60, sample_queries=queries, min_recall=r) for r in (0.5, 0.95))
    assert 1 <= rough.num_lists_to_search < fine.num_lists_to_search < 60
    assert index_recall(rough, queries) >= 0.5 and index_recall(fine, queries) >= 0.95
    fewer = IvfIndex(rows, 60, num_lists_to_search=fine.num_lists_to_search // 2)
    assert index_recall(fewer, queries) < 0.95


def test_an_empty_batch_is_answered() -> None:
    for options in ({}, {"num_lists": 4}):
        scores, numbers = _search(IvfIndex(_unit(40), **options), _unit(0), 3)
        assert scores.shape == numbers.shape == (0, 3)


def test_a_query_alone_and_in_a_batch_finds_the_same() -> None:
    rows, queries = _unit(3000), _unit(9, seed=1)
    index = IvfIndex(rows, num_lists=50, num_lists_to_search=5)
    together = _search(index, queries, 10)[1]
    alone = [_search(index, queries[i : i + 1], 10)[1][0] for i in range(9)]
    np.testing.assert_array_equal(together, alone)


def test_of_equal_candidates_the_lowest_numbers_are_found() -> None:
    rows = np.repeat(_unit(1), 50, axis=0)
    _, numbers = _search(IvfIndex(rows, num_lists=1, num_lists_to_search=1), _unit(2, seed=1), 4)
    assert numbers.tolist() == [[0, 1, 2, 3]] * 2


def test_short_vectors_and_directions_without_any_content_do_no_harm() -> None:
    rows = _unit(300) * np.linspace(0.0, 2.0, 300, dtype=np.float32)[:, None]
    rows[:, 3] = 0.0
    queries = _unit(5, seed=1)
    index = IvfIndex(rows, num_lists=6, num_lists_to_search=6)
    _, numbers = _search(index, queries, 3)
    np.testing.assert_array_equal(numbers, np.argsort(-(queries @ rows.T), axis=1)[:, :3])


def test_the_rule_of_thumb_follows_the_size_and_can_be_overridden() -> None:
    rows = _unit(400)
    assert IvfIndex(rows).is_exact and IvfIndex(rows).parameters["is_exact"]
    index = IvfIndex(rows, exact_below=100)
    assert (index.is_exact, index.num_lists) == (False, 160)
    assert index.parameters["num_lists_to_search"] == index.num_lists_to_search
    assert IvfIndex(rows, num_lists=9, num_lists_to_search=50).num_lists_to_search == 9


def test_settings_that_do_not_fit_are_refused() -> None:
    with pytest.raises(UsageError, match="`num_lists` is 4, but there are only 3 candidates"):
        IvfIndex(_unit(3), num_lists=4)
    with pytest.raises(UsageError, match="`num_lists` must be at least 1, got 0"):
        IvfIndex(_unit(3), num_lists=0)
    with pytest.raises(UsageError, match="`min_recall` must lie above 0"):
        IvfIndex(_unit(3), min_recall=0.0)


def test_a_saved_index_has_none_but_tensorflows_own_ops(tmp_path: Path) -> None:
    index = IvfIndex(_unit(200), num_lists=8, num_lists_to_search=3)
    module: Any = tf.Module()
    module.index = index
    specs = tf.TensorSpec([None, 8], tf.float32), tf.TensorSpec([], tf.int32)
    module.search = tf.function(index.search, input_signature=specs)
    tf.saved_model.save(module, str(tmp_path))
    queries = tf.constant(_unit(3, seed=1))
    loaded = tf.saved_model.load(str(tmp_path))
    _, numbers = loaded.search(queries, tf.constant(7))
    np.testing.assert_array_equal(numbers, index.search(queries, 7)[1])
    graph = loaded.search.get_concrete_function().graph.as_graph_def()
    ops = {n.op for f in graph.library.function for n in f.node_def}
    assert ops and not any("scann" in op.lower() for op in ops)
