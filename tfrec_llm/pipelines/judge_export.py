"""An exported model → its figures on the held-out cases, and whether it is good enough."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tfrec_llm.baselines.interactions import Interactions
from tfrec_llm.baselines.popularity import Popularity
from tfrec_llm.config.run_config import RunConfig
from tfrec_llm.data.catalogue import Catalogue
from tfrec_llm.data.schema import Dataset
from tfrec_llm.data.shards.streamed_interactions import as_frame
from tfrec_llm.data.splits import Split
from tfrec_llm.evaluation.recommender import Recommender
from tfrec_llm.evaluation.report import build_metrics
from tfrec_llm.evaluation.retrieval_evaluator import evaluate_model
from tfrec_llm.pipelines.blessing_rules import BlessingRules
from tfrec_llm.pipelines.export_scorer import ExportScorer
from tfrec_llm.progress import Progress
from tfrec_llm.workflows.build import measured_queries, split_dataset
from tfrec_llm.workflows.versions import package_versions


@dataclass(frozen=True)
class Judgement:
    """What was found of a model.

    Attributes:
        metrics: as metrics.json, of the models `exported`, `popularity` and, if there is one,
            `blessed`.
        reasons: why it is not good enough, nothing where it is.
    """

    metrics: dict[str, Any]
    reasons: list[str]

    @property
    def is_blessed(self) -> bool:
        """Whether the model may be pushed."""
        return not self.reasons


def held_out(config: RunConfig, dataset: Dataset) -> tuple[Catalogue, Split]:
    """Returns the corpus and the split that a training with this configuration used.

    Args:
        config: the run.
        dataset: the checked tables.
    """
    catalogue = Catalogue(dataset.items)
    return catalogue, split_dataset(config, dataset, catalogue)


def judge_export(
    export: str | Path,
    config: RunConfig,
    dataset: Dataset,
    rules: BlessingRules,
    *,
    blessed: str | Path | None = None,
    progress: Progress | None = None,
) -> Judgement:
    """Ranks the whole corpus by an export, for each test case, and applies the rules.

    What is judged are the answers of the SavedModel itself: index, strings and all.

    Args:
        export: the new model, folder of a SavedModel.
        config: that of its training.
        dataset: the tables of its training.
        rules: what it must reach.
        blessed: the last model that was blessed, measured on the same cases.
        progress: told of each batch.

    Returns: `Judgement`.
    """
    catalogue, parts = held_out(config, dataset)
    queries = measured_queries(config, parts)
    fitted_on = parts.train_and_validation if config.train.refit else parts.train
    interactions = Interactions.from_frame(as_frame(fitted_on), len(catalogue))
    models: list[Recommender] = [
        ExportScorer(export, catalogue),
        Popularity().fit(interactions),
    ]
    if blessed is not None:
        models.append(ExportScorer(blessed, catalogue, "blessed"))
    results = [
        evaluate_model(
            model,
            queries,
            catalogue,
            interactions.item_counts,
            ks=config.evaluate.ks,
            bootstrap_samples=config.evaluate.bootstrap_samples,
            seed=config.train.seed,
            progress=progress,
        )
        for model in models
    ]
    slices = {result.name: result.slices for result in results}
    reasons = rules.reasons_against(slices["exported"], slices["popularity"], slices.get("blessed"))
    metrics = build_metrics(
        results,
        data={
            "users": dataset.interactions["user_id"].n_unique(),
            "items": len(catalogue),
            "interactions": len(dataset.interactions),
            "sha256": dataset.sha256,
        },
        protocol={"split": config.split.protocol, "test_queries": len(queries)},
        seed=config.train.seed,
        versions=package_versions(),
    )
    return Judgement(metrics, reasons)
