"""The retrieval loss against loops in NumPy, in value and in every gradient."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tfrec_llm.keras_api import tf
from tfrec_llm.models.retrieval_task import RetrievalTask

SHARE = np.array([0.4, 0.3, 0.2, 0.1, 0.0])
# (ids of positives then negatives, owners of the positives)
CASES = {
    "plain": ([0, 1, 2, 3], [0, 1, 2, 3], 4),
    "uniform negatives": ([0, 1, 2, 4, 3], [0, 1, 2], 3),
    "the positive drawn again": ([0, 1, 0, 0, 1, 4], [0, 1, 2], 3),
    "positions of one user": ([0, 1, 2, 3, 4, 4], [7, 7, 2, 7], 4),
    "all at once": ([0, 1, 0, 2, 1, 0, 4, 3, 1], [0, 0, 1, 1, 2], 5),
    "one query": ([3, 0, 1], [0], 1),
    "one query, no negatives": ([3], [0], 1),
}


@pytest.fixture(scope="module")
def by_hand() -> Any:
    path = Path(__file__).with_name("numpy_retrieval_loss.py")
    spec = importlib.util.spec_from_file_location("numpy_retrieval_loss", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("temperature", [0.2, 1.0])
@pytest.mark.parametrize("case", CASES)
def test_value_and_gradients_equal_the_definition(
    by_hand: Any, case: str, temperature: float
) -> None:
    ids, owners, num_queries = CASES[case]
    generator = np.random.default_rng(len(ids))
    queries = generator.normal(0, 0.5, (num_queries, 3))
    candidates = generator.normal(0, 0.5, (len(ids), 3))

    def loss(q: np.ndarray, c: np.ndarray, t: float) -> float:
        return by_hand.retrieval_loss(q, c, ids, owners, SHARE, t)

    task = RetrievalTask(temperature)
    task.build()
    q, c = tf.constant(queries, tf.float32), tf.constant(candidates, tf.float32)
    with tf.GradientTape() as tape:
        tape.watch([q, c])
        found = task(q, c, tf.constant(ids), tf.constant(owners), tf.constant(SHARE, tf.float32))
    for_queries, for_candidates, for_temperature = tape.gradient(
        found, [q, c, task.log_temperature.value]
    )
    assert float(found) == pytest.approx(loss(queries, candidates, temperature), abs=1e-5)
    numeric = by_hand.numeric_gradient
    np.testing.assert_allclose(
        for_queries, numeric(lambda v: loss(v, candidates, temperature), queries), atol=1e-4
    )
    np.testing.assert_allclose(
        for_candidates, numeric(lambda v: loss(queries, v, temperature), candidates), atol=1e-4
    )
    by_log = numeric(
        lambda v: loss(queries, candidates, float(np.exp(v[0]))), np.log([temperature])
    )
    np.testing.assert_allclose(for_temperature, by_log[0], atol=1e-4)


OPTIONS: dict[str, dict[str, Any]] = {
    "hard negatives": {"num_hard_negatives": 2},
    "the guard": {"false_negative_margin": 0.1},
    "hard negatives under guard": {"num_hard_negatives": 2, "false_negative_margin": 0.1},
    "label smoothing": {"label_smoothing": 0.2},
    "debiased": {"debias_share": 0.1},
    "a queue": {"queue_size": 12},
    "all at once": {
        "num_hard_negatives": 4,
        "false_negative_margin": 0.2,
        "label_smoothing": 0.1,
        "debias_share": 0.05,
        "queue_size": 12,
    },
}


@pytest.mark.parametrize("name", OPTIONS)
def test_options_equal_their_definition(by_hand: Any, name: str) -> None:
    options = dict(OPTIONS[name])
    task = RetrievalTask(0.5, **options)
    task.build((None, 3))
    generator = np.random.default_rng(11)
    steps = []
    for ids in ([3, 1, 4, 2, 0, 3], [0, 1, 0, 2, 1, 0, 3, 3, 1]):
        vectors = generator.normal(size=(len(ids) + 5, 3))
        vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
        steps.append((vectors[:5], vectors[5:], ids))

    def found(queries: Any, candidates: Any, ids: list[int]) -> Any:
        owners, share = tf.constant([0, 0, 1, 1, 2]), tf.constant(SHARE, tf.float32)
        return task(queries, candidates, tf.constant(ids), owners, share)

    # The first step fills the queue, half of which stays empty.
    first, (queries, candidates, ids) = steps
    found(tf.constant(first[0], tf.float32), tf.constant(first[1], tf.float32), first[2])
    if options.pop("queue_size", 0):
        options["queue"] = (first[1], first[2], by_hand.slot_chance(first[2], 5, SHARE))

    def loss(q: np.ndarray, c: np.ndarray, t: float = 0.5) -> float:
        return by_hand.retrieval_loss(q, c, ids, [0, 0, 1, 1, 2], SHARE, t, **options)

    q, c = tf.constant(queries, tf.float32), tf.constant(candidates, tf.float32)
    with tf.GradientTape() as tape:
        tape.watch([q, c])
        value = found(q, c, ids)
    sources = [q, c, task.log_temperature.value]
    for_queries, for_candidates, for_temperature = tape.gradient(value, sources)
    assert float(value) == pytest.approx(loss(queries, candidates), abs=1e-5)
    numeric = by_hand.numeric_gradient
    np.testing.assert_allclose(
        for_queries, numeric(lambda v: loss(v, candidates), queries), atol=1e-4
    )
    np.testing.assert_allclose(
        for_candidates, numeric(lambda v: loss(queries, v), candidates), atol=1e-4
    )
    by_log = numeric(lambda v: loss(queries, candidates, float(np.exp(v[0]))), np.log([0.5]))
    np.testing.assert_allclose(for_temperature, by_log[0], atol=1e-4)
