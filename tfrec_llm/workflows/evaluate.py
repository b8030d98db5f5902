"""A trained run → honest figures on its test set, baselines beside them."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import numpy as np

from tfrec_llm.baselines.popularity import Popularity
from tfrec_llm.baselines.tuning import BASELINES, tune_and_refit
from tfrec_llm.config.run_config import RunConfig
from tfrec_llm.data.shards.streamed_interactions import as_frame, fit_into_memory
from tfrec_llm.errors import DataError
from tfrec_llm.evaluation.recommender import Recommender
from tfrec_llm.evaluation.report import build_metrics, rankings_frame, write_metrics
from tfrec_llm.evaluation.report_html import write_report_html
from tfrec_llm.evaluation.retrieval_evaluator import ModelResult, evaluate_model
from tfrec_llm.files import atomic_file
from tfrec_llm.fusion.padding_mask import mean_of_tokens
from tfrec_llm.models.retrieval_scorer import RetrievalScorer
from tfrec_llm.progress import Progress, Silent
from tfrec_llm.serving.model_card import model_card
from tfrec_llm.serving.trained import TrainedModel
from tfrec_llm.workflows.build import (
    Prepared,
    language_model_alone,
    measured_queries,
    prepare,
    read_dataset,
)
from tfrec_llm.workflows.fine_tuning import prepare_tuned
from tfrec_llm.workflows.run_folder import RunFolder
from tfrec_llm.workflows.train_ranker import evaluate_ranker
from tfrec_llm.workflows.versions import package_versions

READS_USER_TEXT = (
    "two_tower",
    "two_tower_reranked",
    "matrix_factorisation",
    "matrix_factorisation_reranked",
    "tfidf",
    "zero_shot",
    "popularity",
)


def evaluate(
    run: str | Path,
    *,
    baselines: bool = False,
    sasrec: bool = False,
    rankings: str | Path | None = None,
    progress: Progress | None = None,
) -> dict[str, Any]:
    """Ranks the whole corpus for each test case, and writes what came of it into the run.

    Written are `metrics.json`, `report.html`, `model_card.md` and the lists themselves, from
    which the figures can be computed again.

    Args:
        run: folder of a finished training.
        baselines: whether the quick baselines are tuned, refitted and measured too.
        sasrec: whether the baseline `sasrec` is; it takes minutes, on large data an hour.
        rankings: where the lists go; None for `rankings.parquet` in the run.
        progress: listener.

    Returns: the contents of metrics.json.

    Raises:
        UsageError: when the folder holds no finished training.
        DataError: when the data changed since the training.
    """
    folder = RunFolder.open_trained(run)
    config = folder.config
    dataset = read_dataset(config.data)
    if dataset.sha256 != (folder.training or {})["data"]["sha256"]:
        raise DataError(
            f"The data of {folder.path} changed since it was trained (sha256 of the tables "
            "differs), so its test set is not the one that was held out. Train again on the new "
            "data in another folder, or restore the old."
        )
    trained = TrainedModel.load(folder.model)
    make_ready = prepare_tuned if baselines else prepare
    prepared = make_ready(config, dataset, trained.encoder, progress=progress)
    return evaluate_prepared(
        config,
        prepared,
        trained,
        folder,
        baselines=baselines,
        sasrec=sasrec,
        rankings=rankings,
        progress=progress,
    )


def evaluate_prepared(
    config: RunConfig,
    prepared: Prepared,
    trained: TrainedModel,
    folder: RunFolder,
    *,
    baselines: bool = False,
    sasrec: bool = False,
    rankings: str | Path | None = None,
    progress: Progress | None = None,
) -> dict[str, Any]:
    """Evaluates on data that is prepared already; see `evaluate`."""
    progress = progress or Silent()
    parts, seed = prepared.split, config.train.seed
    queries = measured_queries(config, parts)
    models: list[Recommender] = [
        RetrievalScorer(
            trained.model,
            prepared.item_features,
            trained.popularity,
            prepared.text_features,
            neighbours=trained.neighbours,
        )
    ]
    training = folder.training or {}
    described = ("start", "neighbours", "best_epoch", "training_seconds")
    settings: dict[str, dict[str, Any]] = {
        config.model.kind: {key: training[key] for key in described}
    }
    ranking: dict[str, Any] | None = None
    if trained.ranker is not None:
        ranking, reranked = evaluate_ranker(config, prepared, trained, queries, progress)
        models.append(reranked)
        settings[reranked.name] = {
            "retriever_weight": reranked.weight,
            "candidates": reranked.num_candidates,
        }
    # What the texts say of the items, whichever model ranks them; none where it is only learned.
    has_vectors = config.encoder.kind not in ("word_embedding", "none")
    alone = language_model_alone(config, prepared, progress)
    item_vectors = mean_of_tokens(alone.item_features) if has_vectors else None
    left_out: list[str] = []
    if (baselines or sasrec) and not fit_into_memory(parts.train_and_validation):
        names = _names_of_baselines(baselines, sasrec, has_vectors)
        left_out = [name for name in names if name != Popularity.name]
        models.append(Popularity.from_counts(prepared.num_clicks(parts.train_and_validation)))
        progress.message(
            f"warning: {', '.join(left_out)} are left out: they need all interactions in memory"
        )
    elif baselines or sasrec:
        # A zero-shot encoder has seen no clicks, so it is the one from before a fine-tuning.
        before = prepared.untuned or alone
        tuned = tune_and_refit(
            as_frame(parts.train),
            as_frame(parts.train_and_validation),
            parts.validation,
            prepared.catalogue,
            names=_names_of_baselines(baselines, sasrec, has_vectors),
            item_features=mean_of_tokens(before.item_features) if has_vectors else None,
            text_vectors=lambda texts: mean_of_tokens(
                np.stack([before.text_features[t] for t in texts])
            ),
            seed=seed,
            progress=progress,
        )
        models += [baseline.model for baseline in tuned]
        settings |= {baseline.model.name: baseline.settings for baseline in tuned}

    counts = prepared.num_clicks(parts.train_and_validation if config.train.refit else parts.train)
    options: dict[str, Any] = {
        "ks": config.evaluate.ks,
        "bootstrap_samples": config.evaluate.bootstrap_samples,
        "seed": seed,
        "item_vectors": item_vectors,
        "progress": progress,
    }
    results: list[ModelResult] = []
    for model in models:
        begin = time.monotonic()
        result = evaluate_model(model, queries, prepared.catalogue, counts, **options)
        if len(parts.text_only) and model.name in READS_USER_TEXT:
            text_only = evaluate_model(
                model, parts.text_only, prepared.catalogue, counts, **options
            )
            result.slices["cold_users_text_only"] = text_only.slices["all"]
        results.append(result)
        progress.message(f"{model.name}: ranked in {time.monotonic() - begin:.0f} s")

    metrics = build_metrics(
        results,
        data={k: training["data"][k] for k in ("name", "users", "items", "interactions", "sha256")},
        protocol=_protocol(config, prepared, len(queries), left_out),
        seed=seed,
        versions=package_versions(),
        settings=settings,
        ranking=ranking,
    )
    lists = folder.path / "rankings.parquet" if rankings is None else Path(rankings)
    with atomic_file(lists) as temporary:
        rankings_frame(results, queries, prepared.catalogue).write_parquet(temporary)
    write_report_html(folder.path / "report.html", metrics)
    with atomic_file(folder.path / "model_card.md") as temporary:
        temporary.write_text(_model_card(training, metrics), encoding="utf-8")
    write_metrics(folder.path / "metrics.json", metrics)
    return metrics


def _names_of_baselines(baselines: bool, sasrec: bool, has_vectors: bool) -> list[str]:
    quick = [name for name in BASELINES if has_vectors or name != "zero_shot"]
    return (quick if baselines else []) + (["sasrec"] if sasrec else [])


def _protocol(
    config: RunConfig, prepared: Prepared, num_queries: int, left_out: list[str]
) -> dict[str, Any]:
    num_cases = prepared.split.num_cases.get("test", len(prepared.split.test))
    protocol: dict[str, Any] = {
        "split": config.split.protocol,
        "cold_user_share": config.split.cold_user_share,
        "train_share": config.split.train_share,
        "cold_users": len(prepared.split.cold_user_ids),
        "test_queries": num_queries,
        "corpus": len(prepared.catalogue),
        "ranking": "all items, the user's history left out, ties in the order of sha256(item_id)",
        "fitted_on": "training + validation" if config.train.refit else "training",
    }
    if num_queries < num_cases:
        protocol["test_queries_drawn_from"] = num_cases
    if left_out:
        protocol["baselines_left_out"] = left_out
    return protocol


def _model_card(training: dict[str, Any], metrics: dict[str, Any]) -> str:
    figures = {
        name: {
            key: parts["all"].get(key) for key in ("recall@10", "ndcg@10", "recall@100", "queries")
        }
        for name, parts in metrics["models"].items()
    }
    return model_card(
        {"items": training["data"]["items"], "encoder": training["encoder"]["preset"]},
        {
            "name": training["data"]["name"],
            "data": training["data"],
            "protocol": metrics["protocol"],
            "test_figures": figures,
            "versions": metrics["versions"],
        },
    )
