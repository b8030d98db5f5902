from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tfrec_llm.errors import MissingPackageError, UsageError
from tfrec_llm.keras_api import tf
from tfrec_llm.retrieval.scann_index import ScannIndex

LOWEST = np.finfo(np.float32).min


def _unit(num_rows: int, dim: int = 8, seed: int = 0) -> np.ndarray:
    rows = np.random.default_rng(seed).normal(size=(num_rows, dim)).astype(np.float32)
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def _search(index: ScannIndex, queries: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
    scores, numbers = index.search(tf.constant(queries), tf.constant(k))
    return scores.numpy(), numbers.numpy()


@pytest.mark.parametrize("num_items", [1, 2, 3, 5, 10, 16, 20, 100])
@pytest.mark.parametrize("settings", [{}, {"exact_below": 0}, {"num_leaves": 1}])
def test_small_corpora_of_any_size_are_answered_in_full(
    num_items: int, settings: dict[str, int]
) -> None:
    rows, queries = _unit(num_items), _unit(3, seed=1)
    scores, numbers = _search(ScannIndex(rows, **settings), queries, num_items + 2)

    exact = queries @ rows.T
    order = np.argsort(-exact, axis=1)
    np.testing.assert_array_equal(numbers, np.pad(order, ((0, 0), (0, 2)), constant_values=-1))
    np.testing.assert_allclose(scores[:, :-2], np.take_along_axis(exact, order, axis=1), atol=1e-6)
    assert (scores[:, -2:] == LOWEST).all()


@pytest.mark.parametrize("num_leaves", [2, 7, 60])
@pytest.mark.parametrize("k", [1, 10, 60, 61])
def test_a_tree_gives_k_different_candidates_with_their_exact_scores(
    num_leaves: int, k: int
) -> None:
    # One leaf searched and one candidate scored again: rows get unequal numbers of hits, which
    # ScaNN fills up with NaN and row 0.
    rows, queries = _unit(60), _unit(9, seed=1)
    index = ScannIndex(
        rows, num_leaves=num_leaves, num_leaves_to_search=1, num_reordering_candidates=1
    )
    scores, numbers = _search(index, queries, k)

    assert np.isfinite(scores).all()
    assert (np.diff(scores, axis=1) <= 0).all()
    for query, row_scores, row in zip(queries, scores, numbers, strict=True):
        found = row[row >= 0]
        assert len(found) == len(set(found.tolist())) == min(k, 60)
        np.testing.assert_allclose(row_scores[: len(found)], rows[found] @ query, atol=1e-6)


def test_leaves_that_hold_fewer_than_k_neither_shorten_an_answer_nor_repeat_a_row() -> None:
    # Most rows crowd in few leaves; a query beside a lone row searches leaves with hardly any.
    draw = np.random.default_rng(0)
    crowd = np.eye(8)[0] + 0.01 * draw.normal(size=(88, 8))
    lone = 3.0 * draw.normal(size=(12, 8))
    rows = np.concatenate([crowd, lone]).astype(np.float32)
    for num_leaves in (4, 8, 12):
        index = ScannIndex(
            rows, num_leaves=num_leaves, num_leaves_to_search=1, num_reordering_candidates=1
        )
        for k in (3, 5):
            for row in _search(index, rows[-12:], k)[1]:
                assert len(set(row[row >= 0].tolist())) == k


def test_all_leaves_searched_is_exact() -> None:
    rows, queries = _unit(500), _unit(20, seed=1)
    index = ScannIndex(rows, num_leaves=10, num_leaves_to_search=10, num_reordering_candidates=500)
    _, numbers = _search(index, queries, 5)
    np.testing.assert_array_equal(numbers, np.argsort(-(queries @ rows.T), axis=1)[:, :5])


def test_an_empty_batch_is_answered() -> None:
    for settings in ({}, {"num_leaves": 4}):
        scores, numbers = _search(ScannIndex(_unit(40), **settings), _unit(0), 3)
        assert scores.shape == numbers.shape == (0, 3)


def test_the_rule_of_thumb_follows_the_size_and_can_be_overridden() -> None:
    rows = _unit(300)
    assert ScannIndex(rows).is_exact
    hashed = ScannIndex(rows, exact_below=100)
    assert (hashed.is_exact, hashed.num_leaves) == (False, 1)
    tree = ScannIndex(rows, exact_below=100, tree_above=200)
    assert (tree.num_leaves, tree.num_leaves_to_search) == (17, 4)
    assert ScannIndex(rows, num_leaves=9, num_leaves_to_search=50).num_leaves_to_search == 9


def test_more_leaves_than_candidates_are_refused() -> None:
    with pytest.raises(UsageError, match="`num_leaves` is 4, but there are only 3 candidates"):
        ScannIndex(_unit(3), num_leaves=4)


@pytest.mark.parametrize(
    "name", ["num_leaves", "num_leaves_to_search", "num_reordering_candidates"]
)
def test_settings_below_one_are_refused(name: str) -> None:
    with pytest.raises(UsageError, match=f"`{name}` must be at least 1, got 0"):
        ScannIndex(_unit(30), **{name: 0})


def test_without_scann_the_error_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "scann", None)
    with pytest.raises(MissingPackageError, match=r"pip install 'tfrec_llm\[scann\]'"):
        ScannIndex(_unit(3))


@pytest.fixture(scope="module")
def saved(tmp_path_factory: Any) -> tuple[ScannIndex, Path]:
    """An index with a tree, searched by two signatures, saved."""
    index = ScannIndex(_unit(200), num_leaves=5, num_leaves_to_search=5)
    module = tf.Module()
    module.index = index
    specs = [tf.TensorSpec([None, 8], tf.float32, "q"), tf.TensorSpec([], tf.int32, "k")]
    signatures = {}
    for name in ("first", "second"):
        function = tf.function(lambda q, k: {"numbers": index.search(q, k)[1]})
        signatures[name] = function.get_concrete_function(*specs)
        setattr(module, name, function)
    folder = tmp_path_factory.mktemp("saved")
    options = tf.saved_model.SaveOptions(namespace_whitelist=["Scann"])
    tf.saved_model.save(module, str(folder), signatures=signatures, options=options)
    return index, folder


def test_the_session_loader_of_servers_gives_the_same_answers(
    saved: tuple[ScannIndex, Path],
) -> None:
    index, folder = saved
    queries = _unit(4, seed=2)
    expected = _search(index, queries, 6)[1]
    with tf.compat.v1.Session(graph=tf.Graph()) as session:
        loader = tf.compat.v1.saved_model.loader
        signatures = loader.load(session, ["serve"], str(folder)).signature_def
        for name in ("first", "second"):
            signature = signatures[name]
            feeds = {signature.inputs["q"].name: queries, signature.inputs["k"].name: 6}
            numbers = session.run(signature.outputs["numbers"].name, feeds)
            np.testing.assert_array_equal(numbers, expected)


def test_the_searcher_is_made_when_a_model_is_loaded_not_by_the_first_request(
    saved: tuple[ScannIndex, Path],
) -> None:
    with tf.compat.v1.Session(graph=tf.Graph()) as session:
        tf.compat.v1.saved_model.loader.load(session, ["serve"], str(saved[1]))
        graph = session.graph.as_graph_def()
    functions = {f.signature.name: f for f in graph.library.function}
    started = [n.attr["f"].func.name for n in graph.node if "initializer" in n.attr["f"].func.name]
    ops = {node.op for name in started for node in functions[name].node_def}
    assert "Scann>TensorsToScann" in ops


def test_two_indexes_loaded_in_one_process_keep_apart(
    saved: tuple[ScannIndex, Path], tmp_path: Path
) -> None:
    first = tf.saved_model.load(str(saved[1]))
    other = tf.Module()
    other.index = ScannIndex(_unit(200, seed=9), num_leaves=5, num_leaves_to_search=5)
    specs = [tf.TensorSpec([None, 8], tf.float32), tf.TensorSpec([], tf.int32)]
    other.search = tf.function(other.index.search, input_signature=specs)
    tf.saved_model.save(other, str(tmp_path), options=tf.saved_model.SaveOptions(["Scann"]))
    second = tf.saved_model.load(str(tmp_path))

    queries = _unit(4, seed=2)
    for _ in range(2):
        numbers = first.signatures["first"](q=tf.constant(queries), k=tf.constant(6))["numbers"]
        np.testing.assert_array_equal(numbers, _search(saved[0], queries, 6)[1])
        _, numbers = second.search(tf.constant(queries), tf.constant(6))
        np.testing.assert_array_equal(numbers, _search(other.index, queries, 6)[1])
