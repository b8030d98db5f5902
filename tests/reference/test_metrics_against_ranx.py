"""Our metrics against ranx, an independent library, on the same lists."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest

from tfrec_llm.data.catalogue import Catalogue
from tfrec_llm.data.queries import Queries
from tfrec_llm.evaluation.retrieval_evaluator import evaluate_model


class _Random:
    name = "random"

    def __init__(self, scores: np.ndarray) -> None:
        self.scores = scores

    def score(self, queries: Queries) -> np.ndarray:
        return self.scores[[int(user) for user in queries.user_ids]]


def test_recall_ndcg_and_mrr_equal_those_of_ranx(monkeypatch: pytest.MonkeyPatch) -> None:
    numba = pytest.importorskip("numba")
    monkeypatch.setattr(numba.config, "DISABLE_JIT", True)  # compiling takes a minute
    ranx = pytest.importorskip("ranx")
    generator = np.random.default_rng(5)
    num_queries, num_items = 60, 130
    ids = [f"item-{i}" for i in range(num_items)]
    catalogue = Catalogue(pl.DataFrame({"item_id": ids, "title": ids, "text": ids}))
    scores = generator.permuted(
        np.tile(np.arange(num_items, dtype=np.float32), (num_queries, 1)), axis=1
    )
    targets = generator.integers(0, num_items, num_queries)
    scores[np.arange(num_queries), targets] += generator.integers(0, num_items, num_queries) + 0.5
    histories = [np.setdiff1d(generator.integers(0, num_items, 6), [target]) for target in targets]
    queries = Queries(
        user_ids=[str(i) for i in range(num_queries)],
        histories=histories,
        texts=[""] * num_queries,
        targets=targets,
        is_cold_user=np.zeros(num_queries, bool),
    )
    ours = evaluate_model(
        _Random(scores), queries, catalogue, np.ones(num_items), ks=[5, 10, 100]
    ).slices["all"]

    relevant = {str(i): {ids[target]: 1} for i, target in enumerate(targets)}
    given = {
        str(i): {
            ids[n]: float(scores[i, n]) for n in range(num_items) if n not in set(histories[i])
        }
        for i in range(num_queries)
    }
    names = ["hit_rate@5", "recall@10", "recall@100", "ndcg@5", "ndcg@10", "ndcg@100", "mrr@100"]
    theirs = ranx.evaluate(ranx.Qrels(relevant), ranx.Run(given), names)
    assert 0.1 < ours["recall@10"] < 0.9  # neither trivial nor hopeless
    for name, value in theirs.items():
        key = {"hit_rate@5": "recall@5", "mrr@100": "mrr"}.get(name, name)
        assert ours[key] == pytest.approx(value, abs=1e-6), name
