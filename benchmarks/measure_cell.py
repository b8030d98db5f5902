"""A cell → its result: trained and evaluated as a user would, places of the targets kept."""

from __future__ import annotations

import gc
import hashlib
import resource
import shutil
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from cell import APART, EVERY_BASELINE, TRAINED, Cell

from tfrec_llm.baselines.tuning import BASELINES, SLOW_BASELINES, tune_and_refit
from tfrec_llm.config.run_config import RunConfig
from tfrec_llm.data.catalogue import Catalogue
from tfrec_llm.data.queries import Queries
from tfrec_llm.data.schema import Dataset
from tfrec_llm.data.splits import Split
from tfrec_llm.errors import UsageError
from tfrec_llm.evaluation.retrieval_evaluator import ModelResult, evaluate_model
from tfrec_llm.evaluation.slices import query_slices
from tfrec_llm.evaluation.top_k import tie_order
from tfrec_llm.progress import Progress


def measure(cell: Cell, out: Path, progress: Progress | None) -> dict[str, Any]:
    """Returns what a cell's file will hold, but the seconds it took.

    Args:
        cell: what to measure.
        out: folder of the results; a run that was begun there goes on.
        progress: listener of the run.
    """
    from tfrec_llm.keras_api import keras

    keras.backend.clear_session()
    gc.collect()
    config = cell.load()
    is_baseline = cell.model in (*BASELINES, *SLOW_BASELINES, EVERY_BASELINE)
    measured = (_measure_baselines if is_baseline else _measure_run)(cell, config, out, progress)
    return {
        "name": cell.name,
        "config": cell.config,
        "overrides": list(cell.overrides),
        "model": cell.model,
        "seed": config.train.seed,
        # Kilobytes on Linux; of this process from its beginning.
        "peak_memory_bytes": 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss,
        **measured,
    }


@dataclass(frozen=True)
class _TestCases:
    dataset: Dataset
    catalogue: Catalogue
    parts: Split
    queries: Queries
    counts: np.ndarray  # interactions of each item in training + validation

    @property
    def slices(self) -> dict[str, list[int]]:
        """Returns which rows of `queries` belong to a slice."""
        masks = query_slices(self.queries, self.counts, tie_order(self.catalogue.item_ids))
        return {name: np.flatnonzero(mask).tolist() for name, mask in masks.items()}

    @property
    def told(self) -> dict[str, Any]:
        """Returns what tells the cases apart, with no id of the data: users by their number."""
        user_ids, targets = self.queries.user_ids, self.catalogue.ids(self.queries.targets)
        pairs = (f"{user}\t{target}" for user, target in zip(user_ids, targets, strict=True))
        every_user = self.dataset.interactions["user_id"].unique().sort().to_numpy()
        return {
            "cases_sha256": hashlib.sha256("\n".join(pairs).encode()).hexdigest(),
            "users": np.searchsorted(every_user, user_ids).tolist(),
        }


def _test_cases(config: RunConfig) -> _TestCases:
    """Returns what a run with this configuration is measured on."""
    from tfrec_llm.workflows.build import measured_queries, read_dataset, split_dataset

    dataset = read_dataset(config.data)
    catalogue = Catalogue(dataset.items)
    parts = split_dataset(config, dataset, catalogue)
    queries = measured_queries(config, parts)
    fitted_on = parts.train_and_validation["item_number"].to_numpy()
    counts = np.bincount(fitted_on, minlength=len(catalogue))
    return _TestCases(dataset, catalogue, parts, queries, counts)


def _measure_run(
    cell: Cell, config: RunConfig, out: Path, progress: Progress | None
) -> dict[str, Any]:
    """Trains, evaluates, and reads the places of the targets from the lists that were written."""
    from tfrec_llm.workflows.evaluate import evaluate
    from tfrec_llm.workflows.train import train

    run = out / "runs" / cell.name
    begun = (run / "config.yaml").is_file()
    if not begun:
        shutil.rmtree(run, ignore_errors=True)
    training = train(config, run, resume=begun, progress=progress)
    metrics = evaluate(run, progress=progress)
    models = list(metrics["models"])
    name = models[0] if cell.model == TRAINED else cell.model
    if name not in models:
        raise UsageError(f"the run measured {', '.join(models)}, and no model called {name}")
    lists = pl.read_parquet(run / "rankings.parquet").filter(pl.col("model") == name)
    places = [
        ids.index(target) if target in ids else -1
        for target, ids in lists.select("target_item_id", "item_ids").iter_rows()
    ]
    kept = ("encoder", "start", "best_epoch", "training_seconds", "total_seconds")
    cases = _test_cases(config)
    targets = cases.catalogue.ids(cases.queries.targets)
    if (lists["user_id"].to_list(), lists["target_item_id"].to_list()) != (
        cases.queries.user_ids,
        targets,
    ):
        raise UsageError(f"{run} was measured on other test cases than its configuration gives")
    return {
        "measured": name,
        "resumed": begun,
        "data": metrics["data"],
        "protocol": metrics["protocol"],
        "versions": metrics["versions"],
        "training": {key: training[key] for key in kept if key in training},
        "metrics": _figures(metrics["models"][name]),
        "slices": cases.slices,
        **cases.told,
        "places": places,
    }


def _measure_baselines(
    cell: Cell, config: RunConfig, out: Path, progress: Progress | None
) -> dict[str, Any]:
    """Tunes, refits and measures baselines on the cases that a run would be measured on."""
    from tfrec_llm.workflows.build import language_model_alone, prepare
    from tfrec_llm.workflows.versions import package_versions

    cases = _test_cases(config)
    has_vectors = config.encoder.kind not in ("word_embedding", "none")
    names = [cell.model]
    if cell.model == EVERY_BASELINE:
        names = [name for name in BASELINES if name not in APART]
        names = [name for name in names if has_vectors or name != "zero_shot"]
    vectors: dict[str, Any] = {}
    if "zero_shot" in names:
        prepared = language_model_alone(
            config, prepare(config, cases.dataset, None, progress), progress
        )
        texts = prepared.text_features
        vectors = {
            "item_features": prepared.item_features,
            "text_vectors": lambda asked: np.stack([texts[text] for text in asked]),
        }
    models = {name: _measure_baseline(name, config, cases, vectors, progress) for name in names}
    best = max(models.values(), key=lambda model: model["metrics"]["all"].get("ndcg@10", 0.0))
    every_one = {"models": models} if cell.model == EVERY_BASELINE else {}
    return {
        "data": {
            "name": cases.dataset.name,
            "users": cases.dataset.interactions["user_id"].n_unique(),
            "items": len(cases.catalogue),
            "interactions": len(cases.dataset.interactions),
            "sha256": cases.dataset.sha256,
        },
        "protocol": {"split": config.split.protocol, "test_queries": len(cases.queries)},
        "versions": package_versions(),
        "slices": cases.slices,
        **cases.told,
        **best,
        **every_one,
    }


def _measure_baseline(
    name: str,
    config: RunConfig,
    cases: _TestCases,
    vectors: dict[str, Any],
    progress: Progress | None,
) -> dict[str, Any]:
    from tfrec_llm.workflows.evaluate import READS_USER_TEXT

    begin = time.monotonic()
    seed, queries, catalogue = config.train.seed, cases.queries, cases.catalogue
    tuned = tune_and_refit(
        cases.parts.train,
        cases.parts.train_and_validation,
        cases.parts.validation,
        catalogue,
        names=[name],
        seed=seed,
        progress=progress,
        **(vectors if name == "zero_shot" else {}),
    )[0]
    training_seconds = time.monotonic() - begin

    def measured_on(asked: Queries) -> ModelResult:
        return evaluate_model(
            tuned.model,
            asked,
            catalogue,
            cases.counts,
            ks=config.evaluate.ks,
            bootstrap_samples=config.evaluate.bootstrap_samples,
            seed=seed,
            progress=progress,
        )

    result = measured_on(queries)
    if len(cases.parts.text_only) and name in READS_USER_TEXT:
        result.slices["cold_users_text_only"] = measured_on(cases.parts.text_only).slices["all"]
    return {
        "measured": name,
        "training": {
            "settings": {k: _plain(v) for k, v in tuned.settings.items()},
            "training_seconds": round(training_seconds, 1),
        },
        "metrics": _figures(result.slices),
        "seconds": round(time.monotonic() - begin, 1),
        "places": result.ranks.tolist(),
    }


def _figures(slices: dict[str, Any]) -> dict[str, Any]:
    return {k: v for k, v in slices.items() if k != "settings" and v.get("queries")}


def _plain(value: Any) -> Any:
    return value.item() if isinstance(value, np.generic) else value
