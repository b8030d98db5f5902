from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tfrec_llm.config.run_config import RunConfig
from tfrec_llm.errors import ConfigError, UsageError
from tfrec_llm.serving.signatures import RANKER_SIGNATURES
from tfrec_llm.serving.trained import TrainedModel
from tfrec_llm.workflows.evaluate import evaluate
from tfrec_llm.workflows.export import export
from tfrec_llm.workflows.recommend import recommend
from tfrec_llm.workflows.train import train

_SMALL = (
    "ranker.train=true",
    "ranker.epochs=1",
    "ranker.lstm_units=4",
    "ranker.token_dim=4",
    "ranker.max_tokens=6",
    "ranker.candidates=10",
    "ranker.negatives=2",
)


@pytest.fixture(scope="module")
def ranked_shop(
    shop_config: Callable[..., RunConfig], tmp_path_factory: pytest.TempPathFactory
) -> Path:
    folder = tmp_path_factory.mktemp("ranked") / "run"
    train(shop_config(*_SMALL), folder)
    return folder


@pytest.mark.slow
def test_a_ranker_is_trained_with_the_retriever_and_its_choices_are_told(
    ranked_shop: Path,
) -> None:
    summary = json.loads((ranked_shop / "training.json").read_text())["ranker"]
    assert summary["best_epoch"] == 1
    assert 0.0 <= summary["validation_auc"] <= 1.0
    by_weight = dict(summary["validation_ndcg@10_by_retriever_weight"])
    by_weight.pop("retriever_alone")
    assert "0.0" in by_weight  # the ranker alone is among the choices
    assert by_weight[str(summary["retriever_weight"])] == max(by_weight.values())
    assert summary["item_tokens_bytes"] == 42 * 6 * 4 * 2


@pytest.mark.slow
def test_the_evaluation_sets_both_rankers_and_the_reranked_lists_beside_the_retriever(
    ranked_shop: Path,
) -> None:
    metrics = evaluate(ranked_shop)
    assert json.loads((ranked_shop / "metrics.json").read_text())["ranking"] == metrics["ranking"]
    assert list(metrics["models"]) == ["two_tower", "two_tower_reranked"]
    for name in ("lstm_ranker", "tfidf_logistic"):
        for negatives in ("uniform_negatives", "hard_negatives"):
            figures = metrics["ranking"][name][negatives]
            assert figures["pairs"] == 3 * figures["positives"] == 3 * 60
            assert 0.0 <= figures["auc"] <= 1.0
    # Words decide in this shop, and the regression that compares words sees it.
    assert metrics["ranking"]["tfidf_logistic"]["uniform_negatives"]["auc"] > 0.9


@pytest.mark.slow
def test_an_exported_ranker_orders_the_candidates_anew(
    ranked_shop: Path, tmp_path: Path, without_fresh_process: None
) -> None:
    summary = export(ranked_shop, tmp_path / "export")
    assert summary["ranker_item_tokens_bytes"] == 42 * 6 * 4 * 2
    history = ["space-1", "space-2"]
    items = recommend(tmp_path / "export", text="space", history=history, k=5, rerank=True)
    scores = [item["score"] for item in items]
    assert len(items) == 5 and scores == sorted(scores, reverse=True)
    assert not {item["item_id"] for item in items} & set(history)


@pytest.mark.slow
def test_a_loaded_run_serves_the_ranker_that_was_trained(ranked_shop: Path) -> None:
    trained = TrainedModel.load(ranked_shop / "model")
    assert trained.ranker is not None
    servable = trained.servable(index="brute_force")
    assert set(RANKER_SIGNATURES) < set(servable.signature_table)
    assert servable.reranking is not None
    np.testing.assert_array_equal(
        servable.reranking.item_tokens.numpy(), trained.ranker.item_tokens
    )


def test_reranking_without_a_ranker_says_what_to_do(exported_shop: Path) -> None:
    with pytest.raises(UsageError, match="holds no ranker.*ranker.train: true"):
        recommend(exported_shop, text="space", rerank=True)


def test_a_ranker_needs_a_language_model(
    shop_config: Callable[..., RunConfig], tmp_path: Path
) -> None:
    with pytest.raises(ConfigError, match="encoder.kind is tfidf"):
        train(shop_config(*_SMALL, "encoder.kind=tfidf"), tmp_path / "run")


def test_candidates_stand_above_all_others_in_the_order_of_the_combined_score() -> None:
    from tfrec_llm.data.queries import Queries
    from tfrec_llm.models.reranked_scorer import RerankedScorer

    class Retriever:
        name = "retriever"

        def score(self, queries: Queries) -> np.ndarray:
            return np.tile(np.float32([0.9, 0.8, 0.7, 0.6, 0.5]), (len(queries), 1))

    class Ranker:
        def logits(self, queries: Any, rows: np.ndarray, items: np.ndarray) -> np.ndarray:
            return items.astype(np.float32)

    queries = Queries(
        ["u", "nobody"],
        [np.array([0], np.int32), np.array([], np.int32)],
        ["", ""],
        np.array([1, 1]),
        np.zeros(2, bool),
    )
    scorer = RerankedScorer(Retriever(), Ranker(), num_candidates=3)  # type: ignore[arg-type]
    ranker_alone = scorer.score(queries)
    assert np.argsort(-ranker_alone[0])[:4].tolist() == [3, 2, 1, 0]
    assert np.argsort(-ranker_alone[1])[:3].tolist() == [0, 1, 2]
    scorer.weight = 100.0
    assert np.argsort(-scorer.score(queries)[0])[:4].tolist() == [1, 2, 3, 0]
