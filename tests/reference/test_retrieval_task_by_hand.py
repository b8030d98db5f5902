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
