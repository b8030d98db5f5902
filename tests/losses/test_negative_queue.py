from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tfrec_llm.keras_api import tf
from tfrec_llm.losses.negative_queue import NegativeQueue
from tfrec_llm.variables_file import restore_variables, save_variables


def push(queue: NegativeQueue, *ids: int) -> None:
    numbers = np.array(ids, np.float32)
    queue.push(
        tf.constant(np.stack([numbers, -numbers], axis=1).reshape(-1, 2)),
        tf.constant(ids, tf.int32),
        tf.constant(-numbers / 10),
    )


def held(queue: NegativeQueue) -> set[int]:
    """The ids in the queue, each checked to be with its own embedding and probability."""
    embeddings, ids, log_probability = (np.asarray(part) for part in queue.entries())
    filled = ids >= 0
    numbers = ids[filled].astype(np.float32)
    np.testing.assert_array_equal(embeddings[filled], np.stack([numbers, -numbers], axis=1))
    np.testing.assert_allclose(log_probability[filled], -numbers / 10)
    return set(ids[filled].tolist())


def test_a_new_queue_is_empty() -> None:
    queue = NegativeQueue(3, 2)
    assert queue.entries()[1].numpy().tolist() == [-1, -1, -1] and held(queue) == set()


def test_the_newest_replace_the_oldest() -> None:
    queue = NegativeQueue(5, 2)
    for ids, wanted in (
        ((1, 2), {1, 2}),
        ((3, 4), {1, 2, 3, 4}),
        ((5, 6, 7), {3, 4, 5, 6, 7}),
        ((), {3, 4, 5, 6, 7}),
        ((8,), {4, 5, 6, 7, 8}),
    ):
        push(queue, *ids)
        assert held(queue) == wanted


def test_of_more_than_its_size_an_even_spread_is_kept() -> None:
    queue = NegativeQueue(3, 2)
    push(queue, 90)
    push(queue, *range(10))
    assert held(queue) == {0, 3, 6}
    push(queue, 7, 8)
    assert held(queue) == {6, 7, 8}  # the places of the oldest are still known


def test_in_a_graph_of_unknown_length_it_does_the_same() -> None:
    eager, graph = NegativeQueue(4, 2), NegativeQueue(4, 2)
    in_graph = tf.function(
        graph.push,
        input_signature=[
            tf.TensorSpec([None, 2]),
            tf.TensorSpec([None], tf.int32),
            tf.TensorSpec([None]),
        ],
    )
    for ids in ([1, 2, 3], [4, 5], [6, 7, 8, 9, 10]):
        push(eager, *ids)
        numbers = np.array(ids, np.float32)
        in_graph(np.stack([numbers, -numbers], axis=1), np.array(ids, np.int32), -numbers / 10)
        for wanted, found in zip(eager.entries(), graph.entries(), strict=True):
            np.testing.assert_allclose(found, wanted)


def test_what_is_read_before_a_push_stays_as_it_was() -> None:
    queue = NegativeQueue(2, 2)
    push(queue, 1, 2)
    before = queue.entries()[1]
    push(queue, 3)
    assert before.numpy().tolist() == [1, 2]


def test_no_gradient_flows_in() -> None:
    queue, embeddings = NegativeQueue(2, 1), tf.ones((2, 1))
    with tf.GradientTape() as tape:
        tape.watch(embeddings)
        queue.push(embeddings, tf.constant([1, 2]), tf.zeros([2]))
        total = tf.reduce_sum(queue.entries()[0])
    assert float(total) == 2.0 and tape.gradient(total, embeddings) is None
    assert queue.trainable_variables == [] and len(queue.variables) == 4


def test_a_checkpoint_carries_it(tmp_path: Path) -> None:
    queue, other = NegativeQueue(3, 2), NegativeQueue(3, 2)
    push(queue, 1, 2, 3, 4)
    push(queue, 5)
    save_variables(tmp_path / "queue.safetensors", queue.variables, {})
    restore_variables(tmp_path / "queue.safetensors", other.variables)
    push(queue, 6)
    push(other, 6)
    assert held(other) == held(queue) and len(held(queue)) == 3


def test_its_configuration_gives_the_same_queue_again() -> None:
    twin = NegativeQueue.from_config(NegativeQueue(3, 2).get_config())
    assert (twin.size, twin.embedding_dim) == (3, 2)


@pytest.mark.parametrize(("name", "sizes"), [("size", (0, 2)), ("embedding_dim", (2, 0))])
def test_a_size_below_one_is_refused(name: str, sizes: tuple[int, int]) -> None:
    with pytest.raises(ValueError, match=f"`{name}` must be at least 1, got 0"):
        NegativeQueue(*sizes)
