"""Tables → a run folder with a trained recommender."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import math
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from tfrec_llm.config.load import dump_config
from tfrec_llm.config.run_config import RunConfig
from tfrec_llm.data.queries import Queries
from tfrec_llm.data.raw_table import write_quarantine
from tfrec_llm.data.schema import Dataset
from tfrec_llm.encoders.text_encoder import TextEncoder
from tfrec_llm.errors import CheckpointError
from tfrec_llm.evaluation.ndcg import ndcg_at_k
from tfrec_llm.evaluation.recommended_lists import recommended_lists, target_ranks
from tfrec_llm.evaluation.top_k import tie_order
from tfrec_llm.files import atomic_file, locked
from tfrec_llm.keras_api import keras
from tfrec_llm.models.two_tower_model import TwoTowerModel
from tfrec_llm.models.two_tower_scorer import TwoTowerScorer
from tfrec_llm.progress import Progress, Silent
from tfrec_llm.seeds import child_generator, child_seed
from tfrec_llm.serving.trained import TrainedModel
from tfrec_llm.towers.starts import factorise_clicks, start_item_tower
from tfrec_llm.trainer.choose_start import ChosenStart, choose_start
from tfrec_llm.trainer.sequences import SequenceDataset
from tfrec_llm.trainer.train_two_tower import FitResult, fit
from tfrec_llm.workflows.build import (
    Prepared,
    build_encoder,
    build_model,
    optimisation,
    prepare,
    read_dataset,
)
from tfrec_llm.workflows.run_folder import (
    FINGERPRINT_FILE,
    TRAINING_FILE,
    RunFolder,
    corrupt_file,
)
from tfrec_llm.workflows.versions import package_versions

_MAX_VALIDATION_QUERIES = 4000
_MAX_SAMPLE_QUERIES = 512
_START_FILE = "checkpoints/start.json"


def train(
    config: RunConfig,
    out: str | Path,
    *,
    resume: bool = False,
    progress: Progress | None = None,
) -> dict[str, Any]:
    """Trains a two-tower recommender and writes the run folder.

    The number of passes and the start are chosen on the validation set; then, unless
    `train.refit` is false, the model is fitted again on training + validation. The test set
    is not touched. A run that was killed goes on with `resume=True` where it stood.

    Args:
        config: the run.
        out: the run folder; must be new or empty, unless `resume`.
        resume: bool.
        progress: listener.

    Returns: a summary, JSON values.

    Raises:
        UsageError: when `out` holds a run already.
        DataError: when the tables cannot be used.
        CheckpointError: when `resume` meets a run of another configuration or other data.
    """
    progress = progress or Silent()
    run = RunFolder.open_for_training(out, resume=resume)
    with locked(run.path / ".lock"):
        RunFolder.open_for_training(out, resume=resume)  # another process may have been first
        dataset = read_dataset(config.data)
        _, summary = train_dataset(config, dataset, run, resume=resume, progress=progress)
    return summary


def train_dataset(
    config: RunConfig,
    dataset: Dataset,
    run: RunFolder,
    *,
    encoder: TextEncoder | None = None,
    resume: bool = False,
    progress: Progress | None = None,
) -> tuple[Prepared, dict[str, Any]]:
    """Trains on tables that are read already; see `train`.

    Returns: what was prepared, for an evaluation that follows, and the summary.
    """
    progress = progress or Silent()
    begin = time.monotonic()
    for warning in dataset.warnings:
        progress.message(f"warning: {warning}")
    rejected = dataset.quarantine.counts
    if rejected:
        progress.message(
            f"quarantined {sum(rejected.values())} rows: "
            + ", ".join(f"{reason} {count}" for reason, count in rejected.items())
        )
    fingerprint = _fingerprint(config, dataset)
    if run.fingerprint not in (None, fingerprint):
        raise CheckpointError(
            f"{run.path} was trained with another configuration or other data. Use a new --out "
            "folder, or the configuration saved in its config.yaml and the data of that time."
        )
    if run.training is not None:
        progress.message(f"{run.path} is trained already")
        return prepare(config, dataset, encoder, progress), run.training

    keras.utils.set_random_seed(child_seed(config.train.seed, "weights"))
    prepared = prepare(config, dataset, encoder or build_encoder(config), progress)
    parts = prepared.split
    progress.message(
        f"{dataset.name}: {len(prepared.catalogue)} items, {len(dataset.interactions)} "
        f"interactions, {parts.train.height} to train on, {len(parts.validation)} validation and "
        f"{len(parts.test)} test cases"
    )
    # Not before: what cannot be trained leaves the folder empty, to be tried again.
    with atomic_file(run.path / "config.yaml") as temporary:
        temporary.write_text(dump_config(config), encoding="utf-8")
    run.write_json(FINGERPRINT_FILE, {"fingerprint": fingerprint})
    write_quarantine(dataset.quarantine, run.path / "quarantine")
    options: dict[str, Any] = {"fingerprint": fingerprint, "resume": resume, "progress": progress}
    model, clicks, start, selected = _select(config, prepared, run, options)
    refitted = FitResult()
    if config.train.refit:
        model, clicks, refitted = _refit(config, prepared, run, start, selected, options)

    trained = TrainedModel(
        model=model,
        encoder=prepared.encoder,
        catalogue=prepared.catalogue,
        num_clicks=clicks,
        item_embeddings=model.embed_corpus(prepared.item_features),
        sample_queries=_sample_queries(config, prepared, model, clicks),
    )
    shutil.rmtree(run.model, ignore_errors=True)
    trained.save(run.model)
    summary = {
        "run": str(run.path),
        "fingerprint": fingerprint,
        "data": {
            "name": dataset.name,
            "users": dataset.interactions["user_id"].n_unique(),
            "items": len(prepared.catalogue),
            "interactions": len(dataset.interactions),
            "quarantined": rejected,
            "below_min_rating": dataset.num_below_min_rating,
            "sha256": dataset.sha256,
        },
        "encoder": {"preset": config.encoder.preset, "dim": prepared.encoder.dim},
        "start": dataclasses.asdict(start),
        "best_epoch": selected.best_epoch,
        "validation_ndcg@10": selected.best_metric if math.isfinite(selected.best_metric) else None,
        "validation_ndcg@10_by_epoch": selected.metrics,
        "refitted": config.train.refit,
        "training_seconds": round(selected.seconds + refitted.seconds, 1),
        "total_seconds": round(time.monotonic() - begin, 1),
        "seed": config.train.seed,
        "versions": package_versions(),
    }
    run.write_json(TRAINING_FILE, summary)
    return prepared, summary


def _select(
    config: RunConfig, prepared: Prepared, run: RunFolder, options: dict[str, Any]
) -> tuple[TwoTowerModel, np.ndarray, ChosenStart, FitResult]:
    """Trains on the training part; the validation set says how to start and when to stop."""
    interactions = prepared.split.train
    clicks = prepared.num_clicks(interactions)
    model = build_model(config, len(prepared.catalogue), prepared.encoder.dim)
    evaluate = _validation(config, prepared, model, clicks)
    chosen = run.read_json(_START_FILE)
    if chosen is not None:
        try:
            start = ChosenStart(**chosen)
        except TypeError as error:
            raise corrupt_file(run.path / _START_FILE, str(error)) from error
        _set_start(config, prepared, model, interactions, start)
    else:
        factors = factorise_clicks(
            _histories(interactions),
            len(prepared.catalogue),
            config.towers.embedding_dim,
            child_seed(config.train.seed, "start"),
        )
        start = choose_start(
            model,
            factors,
            prepared.item_features,
            evaluate,
            text_share=config.towers.text_start_share,
            progress=options["progress"],
        )
        run.write_json(_START_FILE, dataclasses.asdict(start))
    result = _fit(
        config,
        prepared,
        run,
        model,
        interactions,
        "select",
        options,
        stop_after=config.train.epochs,
        evaluate=evaluate,
    )
    return model, clicks, start, result


def _refit(
    config: RunConfig,
    prepared: Prepared,
    run: RunFolder,
    start: ChosenStart,
    selected: FitResult,
    options: dict[str, Any],
) -> tuple[TwoTowerModel, np.ndarray, FitResult]:
    """Trains anew on training + validation, as long as was best on validation."""
    interactions = prepared.split.train_and_validation
    model = build_model(config, len(prepared.catalogue), prepared.encoder.dim)
    _set_start(config, prepared, model, interactions, start)
    result = _fit(
        config,
        prepared,
        run,
        model,
        interactions,
        "refit",
        options,
        stop_after=selected.best_epoch,
        evaluate=None,
    )
    return model, prepared.num_clicks(interactions), result


def _fit(
    config: RunConfig,
    prepared: Prepared,
    run: RunFolder,
    model: TwoTowerModel,
    interactions: pl.DataFrame,
    phase: str,
    options: dict[str, Any],
    *,
    stop_after: int,
    evaluate: Callable[[], float] | None,
) -> FitResult:
    clicks = prepared.num_clicks(interactions)
    return fit(
        model,
        SequenceDataset(interactions, config.towers.max_history, prepared.user_rows),
        prepared.item_features,
        prepared.user_features,
        clicks / max(1, int(clicks.sum())),
        optimisation(config, stop_after),
        folder=run.path / "checkpoints",
        phase=phase,
        evaluate=evaluate,
        log_folder=run.path / "logs",
        **options,
    )


def _set_start(
    config: RunConfig,
    prepared: Prepared,
    model: TwoTowerModel,
    interactions: pl.DataFrame,
    start: ChosenStart,
) -> None:
    factors = factorise_clicks(
        _histories(interactions),
        len(prepared.catalogue),
        config.towers.embedding_dim,
        child_seed(config.train.seed, "start"),
    )
    model.set_start(
        start_item_tower(
            factors,
            prepared.item_features,
            config.towers.embedding_dim,
            text_share=start.text_share,
            power=start.power,
        )
    )


def _histories(interactions: pl.DataFrame) -> list[np.ndarray]:
    grouped = (
        interactions.sort("user_id", "position")
        .group_by("user_id", maintain_order=True)
        .agg("item_number")["item_number"]
    )
    return [np.asarray(items, dtype=np.int32) for items in grouped.to_list()]


def _validation(
    config: RunConfig, prepared: Prepared, model: TwoTowerModel, clicks: np.ndarray
) -> Callable[[], float]:
    """Returns a function that measures NDCG@10 on (a seeded sample of) the validation set."""
    queries = _sample(prepared.split.validation, _MAX_VALIDATION_QUERIES, config.train.seed)
    order = tie_order(prepared.catalogue.item_ids)

    def evaluate() -> float:
        if not len(queries):
            return 0.0
        scorer = TwoTowerScorer(model, prepared.item_features, clicks, prepared.text_features)
        lists = recommended_lists(scorer, queries, 10, order)
        return float(ndcg_at_k(target_ranks(lists, queries.targets), 10).mean())

    return evaluate


def _sample_queries(
    config: RunConfig, prepared: Prepared, model: TwoTowerModel, clicks: np.ndarray
) -> np.ndarray:
    """Embeds some users, by which an approximate index will be compared with the exact one."""
    queries = _sample(prepared.split.validation, _MAX_SAMPLE_QUERIES, config.train.seed)
    if not len(queries):
        return np.zeros((0, model.embedding_dim), dtype=np.float32)
    scorer = TwoTowerScorer(model, prepared.item_features, clicks, prepared.text_features)
    return scorer.embed(queries)


def _sample(queries: Queries, most: int, seed: int) -> Queries:
    if len(queries) <= most:
        return queries
    rows = child_generator(seed, "validation sample").choice(len(queries), most, replace=False)
    return queries.take(np.sort(rows))


def _fingerprint(config: RunConfig, dataset: Dataset) -> str:
    """Hashes all that shapes the weights; what only shapes reports or the index is left out."""
    shaping = config.model_dump(
        mode="json", include={"split", "text", "encoder", "towers", "train"}
    )
    shaping["encoder"].pop("cache_folder")
    return hashlib.sha256(
        json.dumps([shaping, dataset.sha256], sort_keys=True).encode()
    ).hexdigest()
