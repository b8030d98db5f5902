"""Tables → a run folder with a trained recommender."""

from __future__ import annotations

import dataclasses
import math
import os
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from tfrec_llm.config.load import dump_config
from tfrec_llm.config.run_config import RunConfig
from tfrec_llm.data.raw_table import write_quarantine
from tfrec_llm.data.schema import Dataset
from tfrec_llm.data.shards.sharded_dataset import ShardedDataset
from tfrec_llm.data.splits import Split
from tfrec_llm.encoders.encoder import Encoder
from tfrec_llm.encoders.load_encoder import load_encoder
from tfrec_llm.encoders.text_encoder import TextEncoder
from tfrec_llm.errors import CheckpointError, CorruptFileError, EncoderError
from tfrec_llm.files import atomic_file, locked
from tfrec_llm.models.retrieval_model import RetrievalModel
from tfrec_llm.models.retrieval_scorer import RetrievalScorer
from tfrec_llm.progress import Progress, Silent
from tfrec_llm.seeds import child_generator
from tfrec_llm.serving.trained import TrainedModel
from tfrec_llm.trainer.replicas import Replicas, make_replicas
from tfrec_llm.trainer.train_two_tower import FitResult
from tfrec_llm.workflows.build import Prepared, prepare, read_dataset
from tfrec_llm.workflows.fine_tuning import prepare_tuned, with_tuned_encoder
from tfrec_llm.workflows.neighbours import chosen_neighbours, put_beside
from tfrec_llm.workflows.run_folder import FINGERPRINT_FILE, TRAINING_FILE, RunFolder
from tfrec_llm.workflows.train_ranker import check_ranker, train_ranker
from tfrec_llm.workflows.training_fingerprint import training_fingerprint
from tfrec_llm.workflows.training_phases import fit_phase, refit_phase, select_phase
from tfrec_llm.workflows.untrained_model import build_for_training, with_start_from
from tfrec_llm.workflows.versions import package_versions

_MAX_SAMPLE_QUERIES = 512
_ENCODER = "checkpoints/encoder"  # as long as the training is under way


def train(
    config: RunConfig, out: str | Path, *, resume: bool = False, progress: Progress | None = None
) -> dict[str, Any]:
    """Trains a two-tower recommender and writes the run folder.

    The number of passes and the start are chosen on the validation set; then, unless
    `train.refit` is false, the model is fitted again on training + validation. The test set
    is not touched. A run that was killed goes on with `resume=True` where it stood.

    With `train.strategy: multi_worker` every worker calls this with the same arguments. The first
    one, the chief, does all that is said here; the others compute their part of each step, write
    nothing, and need not see the run folder.

    Args:
        config: the run.
        out: the run folder; must be new or empty, unless `resume`.
        resume: bool.
        progress: listener.

    Returns: a summary, JSON values; of a worker that is not the chief its number alone.

    Raises:
        UsageError: when `out` holds a run already, or the workers cannot be set up.
        DataError: when the tables cannot be used.
        CheckpointError: when `resume` meets a run of another configuration or other data.
        WorkerError: when another worker stopped, or has another configuration or other data.
    """
    progress = progress or Silent()
    replicas = make_replicas(config.train.strategy, config.train.worker_timeout)
    if not replicas.is_chief:
        return _train_along(config, read_dataset(config.data), replicas, progress)
    run = RunFolder.open_for_training(out, resume=resume)
    with locked(run.path / ".lock"):
        RunFolder.open_for_training(out, resume=resume)  # another process may have been first
        dataset = read_dataset(config.data)
        _, summary = train_dataset(
            config, dataset, run, resume=resume, progress=progress, replicas=replicas
        )
    return summary


def train_dataset(
    config: RunConfig,
    dataset: Dataset | ShardedDataset,
    run: RunFolder,
    *,
    language_model: TextEncoder | None = None,
    resume: bool = False,
    progress: Progress | None = None,
    replicas: Replicas | None = None,
) -> tuple[Prepared, dict[str, Any]]:
    """Trains on tables that are read already; see `train`.

    `language_model` is one that is loaded already; None loads that of the configuration.
    `replicas` are those of the chief; None makes what the configuration asks for.

    Returns: what was prepared, for an evaluation that follows, and the summary.
    """
    progress = progress or Silent()
    replicas = replicas or make_replicas(config.train.strategy, config.train.worker_timeout)
    begin = time.monotonic()
    tell_of_rejected_rows(dataset, progress)
    check_ranker(config)
    fingerprint = training_fingerprint(config, dataset)
    if run.fingerprint not in (None, fingerprint):
        raise CheckpointError(
            f"{run.path} was trained with another configuration or other data. Use a new --out "
            "folder, or the configuration saved in its config.yaml and the data of that time."
        )
    replicas.check_alike("the same configuration and data", fingerprint)
    replicas.from_chief({"is_trained": run.training is not None})
    if run.training is not None:
        progress.message(f"{run.path} is trained already")
        trained_encoder = load_encoder(run.model / "encoder")
        prepared = prepare_tuned(config, dataset, trained_encoder, language_model, progress)
        return prepared, run.training

    encoder = _encoder_of_the_beginning(run)
    prepared = prepare(config, dataset, encoder, progress, language_model=language_model)
    prepared = with_start_from(config, prepared)
    _check_features(run, prepared.encoder)
    replicas.check_alike("the same language model", prepared.encoder.fingerprint)
    parts = prepared.split
    progress.message(
        f"{dataset.name}: {len(prepared.catalogue)} items, {dataset.num_interactions} "
        f"interactions, {parts.train.height} to train on, {len(parts.validation)} validation and "
        f"{len(parts.test)} test cases{_sampled(parts)}"
    )
    # Not before: what cannot be trained leaves the folder empty, to be tried again.
    with atomic_file(run.path / "config.yaml") as temporary:
        temporary.write_text(dump_config(config), encoding="utf-8")
    if encoder is None:
        shutil.rmtree(run.path / _ENCODER, ignore_errors=True)
        prepared.encoder.save(run.path / _ENCODER)
    begun = {"fingerprint": fingerprint, "encoder": prepared.encoder.fingerprint}
    run.write_json(FINGERPRINT_FILE, begun)
    write_quarantine(dataset.quarantine, run.path / "quarantine")
    if replicas.count > 1:
        progress.message(
            f"{replicas.count} replicas in {replicas.num_workers} processes, "
            "which share the batch of each step"
        )
    options: dict[str, Any] = {
        "fingerprint": fingerprint,
        "resume": resume,
        "progress": progress,
        "replicas": replicas,
    }
    model, clicks, start, selected = select_phase(config, prepared, run, options)
    chosen = chosen_neighbours(config, prepared, run, model, progress)
    selector, refitted, fitted_on = model, FitResult(), parts.train
    if config.train.refit:
        model, clicks, refitted = refit_phase(config, prepared, run, start, selected, options)
        fitted_on = parts.train_and_validation
    neighbours = put_beside(model, config, prepared, fitted_on, chosen)

    ranker, ranker_summary = None, None
    if config.ranker.train:
        known = neighbours
        if selector is not model:
            known = put_beside(selector, config, prepared, parts.train, chosen)
        ranker, ranker_summary = train_ranker(
            config, prepared, (selector, known), (model, neighbours), progress
        )
    prepared, model = with_tuned_encoder(config, prepared, model, progress)
    trained = TrainedModel(
        model=model,
        encoder=prepared.encoder,
        catalogue=prepared.catalogue,
        num_clicks=clicks,
        item_embeddings=model.embed_corpus(prepared.item_features, clicks == 0),
        sample_queries=_sample_queries(config, prepared, model, clicks),
        neighbours=neighbours,
        ranker=ranker,
    )
    shutil.rmtree(run.model, ignore_errors=True)
    trained.save(run.model)
    summary = {
        "run": str(run.path),
        "fingerprint": fingerprint,
        "data": {
            "name": dataset.name,
            "users": dataset.num_users,
            "items": len(prepared.catalogue),
            "interactions": dataset.num_interactions,
            "quarantined": dataset.quarantine.counts,
            "below_min_rating": dataset.num_below_min_rating,
            "sha256": dataset.sha256,
            "item_id_column": dataset.item_id_column,
            "item_text_columns": list(dataset.item_text_columns),
        },
        "encoder": {"preset": prepared.encoder.name, "dim": prepared.encoder.dim},
        "start": dataclasses.asdict(start),
        "neighbours": dataclasses.asdict(chosen),
        "best_epoch": selected.best_epoch,
        "validation_ndcg@10": selected.best_metric if math.isfinite(selected.best_metric) else None,
        "validation_ndcg@10_by_epoch": selected.metrics,
        "refitted": config.train.refit,
        "replicas": replicas.count,
        "training_seconds": round(selected.seconds + refitted.seconds, 1),
        "total_seconds": round(time.monotonic() - begin, 1),
        "seed": config.train.seed,
        "versions": package_versions(),
    }
    if ranker_summary is not None:
        summary["ranker"] = ranker_summary
    run.write_json(TRAINING_FILE, summary)
    shutil.rmtree(run.path / _ENCODER, ignore_errors=True)
    return prepared, summary


def select(
    config: RunConfig,
    prepared: Prepared,
    folder: Path,
    *,
    after_epoch: Callable[[int, float], bool] | None = None,
    progress: Progress | None = None,
) -> FitResult:
    """Trains on the training part alone, as the first phase of `train_dataset` does.

    Args:
        config: the run.
        prepared: see `prepare`.
        folder: an empty one, for checkpoints and logs.
        after_epoch: takes each epoch, from 0, the closed-form start, and its validation NDCG@10;
            the training ends where it answers false.
        progress: listener.

    Returns: `FitResult`.

    Raises: DivergedError when the loss is no longer a number.
    """
    options: dict[str, Any] = {
        "fingerprint": training_fingerprint(config, prepared.dataset),
        "resume": False,
        "progress": progress or Silent(),
        "replicas": make_replicas(config.train.strategy, config.train.worker_timeout),
        "after_epoch": after_epoch,
    }
    prepared = with_start_from(config, prepared)
    *_, selected = select_phase(config, prepared, RunFolder(folder), options)
    return selected


def _encoder_of_the_beginning(run: RunFolder) -> Encoder | None:
    """Returns the encoder with which a training began that now goes on; None if none did.

    Another processor may take the sums behind the words and centres of an encoder in another order,
    and a preset may be out of reach there or another one under the same name.
    """
    kept = run.path / _ENCODER
    if run.fingerprint is None or not kept.is_dir():
        return None
    try:
        return load_encoder(kept)
    except (CorruptFileError, EncoderError) as error:
        raise CorruptFileError(
            f"{kept} is not the encoder that the training began with ({error}) Delete it, and "
            "--resume makes the encoder anew where the training began."
        ) from error


def _check_features(run: RunFolder, encoder: Encoder) -> None:
    """Refuses to go on with features that the weights so far were not trained on."""
    begun = (run.read_json(FINGERPRINT_FILE) or {}).get("encoder")
    if begun not in (None, encoder.fingerprint):
        raise CheckpointError(
            f"{run.path} began with other features of the texts, and {_ENCODER}, the encoder of "
            "that time, is not there or another one. Begin anew in another --out folder."
        )


def _train_along(
    config: RunConfig, dataset: Dataset | ShardedDataset, replicas: Replicas, progress: Progress
) -> dict[str, Any]:
    """Computes the part of a worker that is not the chief, in the same order as the chief."""
    fingerprint = training_fingerprint(config, dataset)
    replicas.check_alike("the same configuration and data", fingerprint)
    if replicas.from_chief({})["is_trained"]:
        return {"worker": replicas.worker}
    prepared = prepare(config, dataset, progress=progress)
    replicas.check_alike("the same language model", prepared.encoder.fingerprint)
    options = {"fingerprint": fingerprint, "progress": progress, "replicas": replicas}
    phases = [("select", prepared.split.train), ("refit", prepared.split.train_and_validation)]
    stop_after = config.train.epochs
    for phase, interactions in phases[: 2 if config.train.refit else 1]:
        model = build_for_training(config, prepared, interactions, replicas)
        nowhere = RunFolder(os.devnull)
        result = fit_phase(
            config,
            prepared,
            nowhere,
            model,
            interactions,
            phase,
            options,
            stop_after=stop_after,
            evaluate=None,
        )
        stop_after = result.best_epoch
    return {"worker": replicas.worker}


def _sampled(parts: Split) -> str:
    """Returns how many cases there were where those that are kept are a sample of them."""
    kept = {"validation": len(parts.validation), "test": len(parts.test)}
    drawn = [f"{n} {name}" for name, n in parts.num_cases.items() if n > kept[name]]
    return f", a seeded sample of {' and '.join(drawn)} cases" if drawn else ""


def tell_of_rejected_rows(dataset: Dataset | ShardedDataset, progress: Progress) -> None:
    """Says what is odd about the tables, and how many rows were set aside for which reason."""
    for warning in dataset.warnings:
        progress.message(f"warning: {warning}")
    rejected = dataset.quarantine.counts
    if rejected:
        progress.message(
            f"quarantined {sum(rejected.values())} rows: "
            + ", ".join(f"{reason} {count}" for reason, count in rejected.items())
        )


def _sample_queries(
    config: RunConfig, prepared: Prepared, model: RetrievalModel, clicks: np.ndarray
) -> np.ndarray:
    """Embeds some users, by which an approximate index will be compared with the exact one."""
    queries = prepared.split.validation.sample(
        _MAX_SAMPLE_QUERIES, child_generator(config.train.seed, "validation sample")
    )
    if not len(queries):
        return np.zeros((0, model.embedding_dim), dtype=np.float32)
    scorer = RetrievalScorer(model, prepared.item_features, clicks, prepared.text_features)
    return scorer.embed(queries)
