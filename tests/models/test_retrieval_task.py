from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tfrec_llm.keras_api import keras, tf
from tfrec_llm.models.retrieval_task import RetrievalTask, mixture_probability
from tfrec_llm.testing.layer_checks import check_layer


def fixed(temperature: float = 1.0) -> RetrievalTask:
    return RetrievalTask(temperature, learn_temperature=False)


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"num_hard_negatives": 1, "false_negative_margin": 1.5},
        {"label_smoothing": 0.1, "debias_share": 0.05},
    ],
)
def test_it_is_a_sound_layer(options: dict[str, Any]) -> None:
    generator = np.random.default_rng(0)
    inputs = {
        "query_embeddings": generator.normal(size=(2, 4)).astype(np.float32),
        "candidate_embeddings": generator.normal(size=(3, 4)).astype(np.float32),
        "candidate_ids": np.array([0, 2, 1], np.int32),
        "query_owners": np.array([0, 1], np.int32),
        "positive_share": np.array([0.5, 0.3, 0.2], np.float32),
    }
    check_layer(RetrievalTask(0.3, **options), inputs)


@settings(max_examples=25, deadline=None)
@given(st.integers(1, 6), st.integers(0, 6), st.integers(0, 2**31))
def test_a_uniform_share_leaves_the_softmax_alone(queries: int, negatives: int, seed: int) -> None:
    generator = np.random.default_rng(seed)
    total, num_items = queries + negatives, 12
    query = generator.normal(size=(queries, 3)).astype(np.float32)
    candidate = generator.normal(size=(total, 3)).astype(np.float32)
    loss = fixed()(
        tf.constant(query),
        tf.constant(candidate),
        tf.constant(generator.permutation(num_items)[:total].astype(np.int32)),
        tf.range(queries),
        tf.fill([num_items], 1.0 / num_items),
    )
    scores = (query @ candidate.T).astype(np.float64)
    log_softmax = scores - np.log(np.exp(scores).sum(axis=1, keepdims=True))
    wanted = -np.mean([log_softmax[i, i] for i in range(queries)])
    assert float(loss) == pytest.approx(wanted, abs=1e-4)


@pytest.mark.parametrize(("queries", "negatives"), [(8, 0), (4, 4), (1, 7)])
def test_the_loss_is_a_mean_and_does_not_grow_with_the_batch(queries: int, negatives: int) -> None:
    """Queries of zeros like eight candidates alike: ln 8 each, however many they are."""
    loss = fixed()(
        tf.zeros((queries, 2)), tf.ones((8, 2)), tf.range(8), tf.range(queries), tf.fill([8], 1 / 8)
    )
    assert float(loss) == pytest.approx(math.log(8.0), abs=1e-5)


def test_a_popular_item_is_pushed_down_less() -> None:
    """Both candidates score alike; the one that turns up more often weighs less as a negative."""
    gradients = []
    for share in ([0.1, 0.8, 0.1], [0.1, 0.1, 0.8]):
        candidates = tf.constant([[1.0], [1.0], [1.0]])
        with tf.GradientTape() as tape:
            tape.watch(candidates)
            loss = fixed()(
                tf.ones((3, 1)), candidates, tf.range(3), tf.range(3), tf.constant(share)
            )
        gradients.append(tape.gradient(loss, candidates).numpy().ravel())
    # A negative's push on item 1 is weaker when item 1 is the popular one.
    assert gradients[0][1] < gradients[1][1]


def test_only_masked_candidates_left_gives_no_loss() -> None:
    """Two positions of one user and no negatives: nothing to tell them from."""
    loss = fixed()(tf.eye(2), tf.eye(2), tf.range(2), tf.zeros([2], tf.int32), tf.fill([2], 0.5))
    assert float(loss) == pytest.approx(0.0, abs=1e-6)


@pytest.mark.parametrize("num_candidates", [0, 3])
def test_no_queries_give_a_loss_of_zero_with_finite_gradients(num_candidates: int) -> None:
    candidates, nobody = tf.ones((num_candidates, 2)), tf.zeros([0], tf.int32)
    numbers, share = tf.range(num_candidates), tf.fill([3], 1 / 3)
    with tf.GradientTape() as tape:
        tape.watch(candidates)
        loss = fixed()(tf.zeros((0, 2)), candidates, numbers, nobody, share)
    gradient = tape.gradient(loss, candidates, unconnected_gradients="zero")
    assert float(loss) == 0.0
    assert np.isfinite(gradient).all()


@pytest.mark.parametrize("sharp", [True, False])
def test_a_learned_temperature_moves_where_the_loss_falls(sharp: bool) -> None:
    """Right positives ask for a sharp softmax, wrong ones for a flat one."""
    task = RetrievalTask(0.5)
    task.build()
    queries = tf.eye(3) if sharp else -tf.eye(3)
    with tf.GradientTape() as tape:
        loss = task(queries, tf.eye(3), tf.range(3), tf.range(3), tf.fill([3], 1 / 3))
    gradient = tape.gradient(loss, task.log_temperature.value)
    keras.optimizers.SGD(1.0).apply([gradient], [task.log_temperature])
    moved = float(task.log_temperature.numpy()) - math.log(0.5)
    assert moved < -1e-3 if sharp else moved > 1e-3


@pytest.mark.parametrize("runaway", [-40.0, 40.0])
def test_a_runaway_temperature_stays_within_a_factor_of_ten(runaway: float) -> None:
    task = RetrievalTask(0.5)
    task.build()
    task.log_temperature.assign(runaway)
    arguments = (tf.eye(3), tf.eye(3), tf.range(3), tf.range(3), tf.fill([3], 1 / 3))
    found = float(task(*arguments))
    bounds = sorted(float(fixed(0.5 * factor)(*arguments)) for factor in (0.1, 10.0))
    assert bounds[0] - 1e-3 <= found <= bounds[1] + 1e-3


def test_a_fixed_temperature_is_no_weight() -> None:
    task = fixed(0.2)
    task.build()
    assert task.trainable_variables == []


@pytest.mark.parametrize("temperature", [0.0, -1.0])
def test_a_temperature_of_zero_or_less_is_an_error(temperature: float) -> None:
    with pytest.raises(ValueError, match=f"`temperature` must be above 0, got {temperature}"):
        RetrievalTask(temperature)


@given(st.integers(1, 50), st.integers(0, 50), st.integers(1, 20), st.integers(0, 2**31))
@settings(max_examples=25, deadline=None)
def test_the_mixture_is_a_probability(positives: int, uniform: int, items: int, seed: int) -> None:
    share = np.random.default_rng(seed).dirichlet(np.ones(items)).astype(np.float32)
    found = np.asarray(mixture_probability(tf.constant(share), positives, uniform, items))
    assert (found > 0).all()
    assert found.sum() == pytest.approx(1.0, abs=1e-4)


def step(task: RetrievalTask, seed: int, *, queries: int = 3, **options: Any) -> float:
    generator = np.random.default_rng(seed)
    vectors = generator.normal(size=(2 * queries + 2, 4)).astype(np.float32)
    return float(
        task(
            tf.constant(vectors[:queries]),
            tf.constant(vectors[queries:]),
            tf.constant(generator.permutation(9)[: queries + 2].astype(np.int32)),
            tf.range(queries),
            tf.fill([9], 1 / 9),
            **options,
        )
    )


def test_an_empty_queue_changes_nothing_and_a_filled_one_asks_for_more() -> None:
    with_queue = RetrievalTask(1.0, queue_size=64)
    assert step(with_queue, 1) == pytest.approx(step(fixed(), 1), abs=1e-6)
    assert step(with_queue, 2) > step(fixed(), 2) + 0.1


def test_a_positive_that_stands_in_the_queue_is_no_negative() -> None:
    task = RetrievalTask(1.0, queue_size=4)
    arguments = (tf.ones((1, 4)), tf.ones((1, 4)), tf.constant([2]), tf.constant([0]))
    for _ in range(3):
        assert float(task(*arguments, tf.fill([9], 1 / 9))) == pytest.approx(0.0, abs=1e-6)


def test_plain_leaves_every_option_and_the_queue_alone() -> None:
    task = RetrievalTask(
        1.0,
        num_hard_negatives=1,
        false_negative_margin=0.0,
        queue_size=8,
        label_smoothing=0.3,
        debias_share=0.2,
    )
    step(task, 1)
    before = [np.array(v.value) for v in task.queue.variables]
    assert step(task, 2, plain=True) == pytest.approx(step(fixed(), 2), abs=1e-6)
    for variable, value in zip(task.queue.variables, before, strict=True):
        np.testing.assert_array_equal(variable.value, value)


def test_a_queue_needs_to_know_the_width_of_the_embeddings() -> None:
    with pytest.raises(ValueError, match="A queue needs the width of the embeddings"):
        RetrievalTask(queue_size=2).build()


@pytest.mark.parametrize(
    ("option", "words"),
    [
        ({"num_hard_negatives": 0}, "`num_hard_negatives` must be at least 1, got 0"),
        ({"queue_size": -1}, "`queue_size` must be at least 0, got -1"),
        ({"label_smoothing": 1.0}, r"`label_smoothing` must lie in \[0, 1\), got 1.0"),
        ({"debias_share": -0.1}, r"`debias_share` must lie in \[0, 1\), got -0.1"),
    ],
)
def test_an_option_out_of_bounds_is_an_error(option: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        RetrievalTask(**option)


@pytest.mark.parametrize("plain", [False, True])
@pytest.mark.parametrize(
    "options",
    [
        {},
        {"num_hard_negatives": 3, "false_negative_margin": 0.2},
        {"label_smoothing": 0.1, "debias_share": 0.02},
        {"queue_size": 6},
    ],
)
def test_the_shares_of_some_queries_add_up_to_the_loss_of_all(
    options: dict[str, Any], plain: bool
) -> None:
    generator = np.random.default_rng(2)
    queries = generator.normal(size=(5, 4)).astype(np.float32)
    candidates = tf.constant(generator.normal(size=(9, 4)), tf.float32)
    share = generator.random(12).astype(np.float32)
    rest = (
        candidates,
        tf.constant(generator.integers(12, size=9), tf.int32),
        tf.constant([0, 0, 1, 2, 2]),
        tf.constant(share / share.sum()),
    )
    whole = RetrievalTask(0.5, **options)
    whole(tf.constant(queries[::-1].copy()), *rest)  # fills a queue
    wanted = float(whole(tf.constant(queries), *rest, plain=plain))
    total = 0.0
    for labels in ([3, 0], [], [1, 4, 2]):  # in any order, and none at all
        part = RetrievalTask(0.5, **options)
        part(tf.constant(queries[::-1].copy()), *rest)
        own = tf.constant(queries[labels].reshape(-1, 4))
        total += float(part(own, *rest, plain=plain, labels=tf.constant(labels, tf.int32)))
    assert total == pytest.approx(wanted, rel=1e-5)
