from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tfrec_llm.keras_api import keras, tf
from tfrec_llm.losses.gradient_caching import chunked_with_recompute, random_states_of
from tfrec_llm.testing.layer_checks import randomise
from tfrec_llm.towers.item_tower import ItemTower

Embed = Callable[..., Any]


def make_tower(dropout: float) -> ItemTower:
    keras.utils.set_random_seed(1)
    tower = ItemTower(20, 4, item_id_dropout=dropout, dropout=dropout)
    tower.build((None, 6))
    randomise(tower)
    return tower


def plain(embed: Embed, inputs: list[Any], *_: Any) -> Any:
    return embed(*inputs)


def chunk_by_chunk(embed: Embed, inputs: list[Any], chunk_rows: int, *_: Any) -> Any:
    """The same chunks in a Python loop, differentiated through."""
    begins = range(0, inputs[0].shape[0], chunk_rows)
    return tf.concat([embed(*(x[b : b + chunk_rows] for x in inputs)) for b in begins], axis=0)


def everything(
    way: Callable[..., Any],
    chunk_rows: int = 3,
    dropout: float = 0.0,
    num_rows: int = 7,
    in_graph: bool = True,
) -> list[np.ndarray]:
    """Returns the embeddings, the gradients of features and of all weights, the random states."""
    tower = make_tower(dropout)
    generator = np.random.default_rng(0)
    features = tf.constant(generator.normal(size=(num_rows, 6)), tf.float32)
    numbers = tf.constant(generator.integers(-1, 5, num_rows), tf.int32)
    states = random_states_of(tower)

    def step(features: Any, numbers: Any) -> Any:
        with tf.GradientTape() as tape:
            tape.watch(features)
            inputs = [features, numbers]
            found = way(lambda x, n: tower(x, n, training=True), inputs, chunk_rows, states)
            noise = keras.random.normal((4,), seed=tower.id_embedding.seed_generator)
            loss = tf.reduce_sum(tf.exp(found) * noise)
        sources = [features, *(v.value for v in tower.trainable_variables)]
        return found, tape.gradient(loss, sources, unconnected_gradients="zero")

    found, gradients = (tf.function(step) if in_graph else step)(features, numbers)
    dense = [tf.convert_to_tensor(g) for g in gradients]
    return [np.asarray(value) for value in (found, *dense, *(s.value for s in states))]


def assert_same(found: list[np.ndarray], wanted: list[np.ndarray]) -> None:
    for one, other in zip(found, wanted, strict=True):
        np.testing.assert_allclose(one, other, atol=1e-6)


@settings(max_examples=8, deadline=None)
@given(st.integers(1, 9), st.integers(1, 10))
def test_value_and_gradients_equal_the_plain_computation(num_rows: int, chunk_rows: int) -> None:
    found = everything(chunked_with_recompute, chunk_rows, num_rows=num_rows, in_graph=False)
    wanted = everything(plain, num_rows=num_rows, in_graph=False)
    assert_same(found, wanted)


@pytest.mark.parametrize("in_graph", [False, True])
@pytest.mark.parametrize("chunk_rows", [2, 3, 7])
def test_with_drop_out_both_passes_draw_alike(chunk_rows: int, in_graph: bool) -> None:
    """As a loop over the chunks does that keeps all it computed, and random states end the same."""
    found = everything(chunked_with_recompute, chunk_rows, 0.5, in_graph=in_graph)
    assert_same(found, everything(chunk_by_chunk, chunk_rows, 0.5))


def test_with_drop_out_one_chunk_is_the_plain_computation() -> None:
    assert_same(everything(chunked_with_recompute, 100, 0.5), everything(plain, dropout=0.5))


def test_each_chunk_draws_anew() -> None:
    tower = make_tower(0.5)
    alike = [tf.ones((6, 6)), tf.ones([6], tf.int32)]
    found = chunked_with_recompute(
        lambda x, n: tower.embed_text(x, training=True), alike, 1, random_states_of(tower)
    )
    assert len(np.unique(np.asarray(found).round(5), axis=0)) > 1


def test_no_rows_give_no_rows_of_the_right_width_and_gradients_of_zero() -> None:
    found = everything(chunked_with_recompute, num_rows=0)
    assert found[0].shape == (0, 4) and found[1].shape == (0, 6)
    assert not any(gradient.any() for gradient in found[2:-1])


def test_a_graph_serves_any_number_of_rows() -> None:
    double = tf.function(
        lambda x: chunked_with_recompute(lambda rows: 2.0 * rows, [x], 4),
        input_signature=[tf.TensorSpec([None, 2])],
    )
    for num_rows in (0, 1, 4, 9):
        rows = np.random.default_rng(num_rows).normal(size=(num_rows, 2)).astype(np.float32)
        np.testing.assert_array_equal(double(rows), 2.0 * rows)
    assert double.get_concrete_function().structured_outputs.shape.as_list() == [None, 2]


@pytest.mark.parametrize("in_graph", [False, True])
def test_an_answer_of_which_rows_are_looked_up_has_their_gradients(in_graph: bool) -> None:
    def step(rows: Any) -> Any:
        with tf.GradientTape() as tape:
            tape.watch(rows)
            found = chunked_with_recompute(tf.square, [rows], 2)
            loss = tf.reduce_sum(tf.gather(found, [4, 0, 4]))
        return tape.gradient(loss, rows)

    found = (tf.function(step) if in_graph else step)(tf.range(1.0, 6.0))
    assert found.numpy().tolist() == [2.0, 0.0, 0.0, 0.0, 20.0]


def test_no_more_than_a_chunk_is_ever_computed_at_a_time() -> None:
    sizes: list[int] = []

    def embed(rows: Any) -> Any:
        tf.py_function(lambda size: sizes.append(int(size)), [tf.shape(rows)[0]], [])
        return tf.square(rows)

    @tf.function
    def step(rows: Any) -> Any:
        with tf.GradientTape() as tape:
            tape.watch(rows)
            loss = tf.reduce_sum(chunked_with_recompute(embed, [rows], 4))
        return tape.gradient(loss, rows)

    rows = np.arange(10.0, dtype=np.float32)
    np.testing.assert_allclose(step(tf.constant(rows)), 2.0 * rows)
    assert sizes == [4, 4, 2, 4, 4, 2]  # each twice, and none of them whole


def test_the_random_states_of_a_layer_are_its_seed_generators_alone() -> None:
    tower = make_tower(0.5)
    assert [tuple(v.shape) for v in random_states_of(tower)] == [(2,), (2,)]
    assert all("seed" in v.path for v in random_states_of(tower))


def test_chunks_without_rows_are_refused() -> None:
    with pytest.raises(ValueError, match="`chunk_rows` must be at least 1, got 0"):
        chunked_with_recompute(tf.identity, [tf.ones([2])], 0)
