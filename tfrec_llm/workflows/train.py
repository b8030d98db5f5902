"""Tables → a run folder with a trained recommender."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import math
import os
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from tfrec_llm.baselines.interactions import Interactions as Pairs
from tfrec_llm.config.load import dump_config
from tfrec_llm.config.run_config import RunConfig
from tfrec_llm.data.queries import Queries
from tfrec_llm.data.raw_table import write_quarantine
from tfrec_llm.data.schema import Dataset
from tfrec_llm.data.shards.sharded_dataset import ShardedDataset
from tfrec_llm.data.shards.streamed_interactions import (
    Interactions,
    StreamedInteractions,
    as_frame,
)
from tfrec_llm.data.splits import Split
from tfrec_llm.encoders.encoder import Encoder
from tfrec_llm.encoders.load_encoder import load_encoder
from tfrec_llm.errors import CheckpointError, UsageError
from tfrec_llm.evaluation.ndcg import ndcg_at_k
from tfrec_llm.evaluation.recommended_lists import recommended_lists, target_ranks
from tfrec_llm.evaluation.top_k import tie_order
from tfrec_llm.files import atomic_file, locked
from tfrec_llm.models.matrix_factorisation import MatrixFactorisation
from tfrec_llm.models.retrieval_model import RetrievalModel
from tfrec_llm.models.retrieval_scorer import RetrievalScorer
from tfrec_llm.models.two_tower_model import TwoTowerModel
from tfrec_llm.progress import Progress, Silent
from tfrec_llm.seeds import child_generator, child_seed
from tfrec_llm.serving.trained import TrainedModel
from tfrec_llm.towers.random_start import random_start
from tfrec_llm.towers.starts import (
    MAX_GAP,
    ClickFactors,
    ItemTowerStart,
    factorise_clicks,
    factorise_pairs,
    start_item_tower,
)
from tfrec_llm.trainer.choose_factor_start import (
    ChosenFactorStart,
    choose_factor_start,
    set_factor_start,
)
from tfrec_llm.trainer.choose_start import ChosenStart, choose_start
from tfrec_llm.trainer.replicas import Replicas, make_replicas
from tfrec_llm.trainer.shared_batches import sequences_of
from tfrec_llm.trainer.start_from_run import StartFromRun
from tfrec_llm.trainer.streamed_pairs import affordable_gap, streamed_near_pairs
from tfrec_llm.trainer.train_two_tower import FitResult, fit
from tfrec_llm.workflows.build import (
    Prepared,
    build_model,
    optimisation,
    prepare,
    read_dataset,
    training_features,
    training_user_features,
)
from tfrec_llm.workflows.fine_tuning import (
    Features,
    features_of_the_moment,
    language_model_of,
    language_model_to_train,
    prepare_tuned,
    with_tuned_encoder,
)
from tfrec_llm.workflows.neighbours import chosen_neighbours, neighbour_table
from tfrec_llm.workflows.run_folder import (
    FINGERPRINT_FILE,
    TRAINING_FILE,
    RunFolder,
    corrupt_file,
)
from tfrec_llm.workflows.train_ranker import check_ranker, train_ranker
from tfrec_llm.workflows.versions import package_versions

_MAX_VALIDATION_QUERIES = 4000
_MAX_SAMPLE_QUERIES = 512
_START_FILE = "checkpoints/start.json"
Start = ChosenStart | ChosenFactorStart


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
    encoder: Encoder | None = None,
    resume: bool = False,
    progress: Progress | None = None,
    replicas: Replicas | None = None,
) -> tuple[Prepared, dict[str, Any]]:
    """Trains on tables that are read already; see `train`.

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
        if config.encoder.mode == "frozen":
            return prepare(config, dataset, encoder, progress), run.training
        tuned = load_encoder(run.model / "encoder")
        return prepare_tuned(config, dataset, tuned, encoder, progress), run.training

    prepared = _with_start_from(config, prepare(config, dataset, encoder, progress))
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
    run.write_json(FINGERPRINT_FILE, {"fingerprint": fingerprint})
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
    model, clicks, start, selected = _select(config, prepared, run, options)
    chosen = chosen_neighbours(config, prepared, run, model, progress)
    neighbours = neighbour_table(config, prepared, parts.train, chosen)
    refitted, selector = FitResult(), (model, neighbours)
    if config.train.refit:
        model, clicks, refitted = _refit(config, prepared, run, start, selected, options)
        if isinstance(model, TwoTowerModel):
            model.new_item_scale.assign(chosen.new_item_scale)
        neighbours = neighbour_table(config, prepared, parts.train_and_validation, chosen)

    ranker, ranker_summary = None, None
    if config.ranker.train:
        ranker, ranker_summary = train_ranker(
            config, prepared, selector, (model, neighbours), progress
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
    prepared = _with_start_from(config, prepared)
    *_, selected = _select(config, prepared, RunFolder(folder), options)
    return selected


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
        model = _build(config, prepared, interactions, replicas)
        nowhere = RunFolder(os.devnull)
        result = _fit(
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


def _select(
    config: RunConfig, prepared: Prepared, run: RunFolder, options: dict[str, Any]
) -> tuple[TwoTowerModel | MatrixFactorisation, np.ndarray, Start, FitResult]:
    """Trains on the training part; the validation set says how to start and when to stop."""
    interactions = prepared.split.train
    clicks = prepared.num_clicks(interactions)
    model = _build(config, prepared, interactions, options["replicas"])
    features = features_of_the_moment(config, prepared, model, options["progress"])
    chosen = run.read_json(_START_FILE)
    if chosen is not None:
        try:
            is_factors = isinstance(model, MatrixFactorisation)
            start = ChosenFactorStart(**chosen) if is_factors else ChosenStart(**chosen)
        except TypeError as error:
            raise corrupt_file(run.path / _START_FILE, str(error)) from error
        _set_start(config, prepared, model, interactions, start)
    else:
        # The language model is as it was, so the features that are there already are those.
        evaluate = _validation(config, prepared, model, clicks)
        start = _choose_start(config, prepared, model, interactions, evaluate, options["progress"])
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
        evaluate=_validation(config, prepared, model, clicks, features),
    )
    return _on_one_device(config, prepared, model, options["replicas"]), clicks, start, result


def _refit(
    config: RunConfig,
    prepared: Prepared,
    run: RunFolder,
    start: Start,
    selected: FitResult,
    options: dict[str, Any],
) -> tuple[TwoTowerModel | MatrixFactorisation, np.ndarray, FitResult]:
    """Trains anew on training + validation, as long as was best on validation."""
    interactions = prepared.split.train_and_validation
    model = _build(config, prepared, interactions, options["replicas"])
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
    model = _on_one_device(config, prepared, model, options["replicas"])
    return model, prepared.num_clicks(interactions), result


def _fit(
    config: RunConfig,
    prepared: Prepared,
    run: RunFolder,
    model: RetrievalModel,
    interactions: Interactions,
    phase: str,
    options: dict[str, Any],
    *,
    stop_after: int,
    evaluate: Callable[[], float] | None,
) -> FitResult:
    clicks = prepared.num_clicks(interactions)
    language_model = language_model_of(model)
    sequences = sequences_of(
        interactions,
        config.towers.max_history,
        prepared.user_rows,
        options.get("replicas"),
        time_gaps=model.time_gaps,
    )
    return fit(
        model,
        sequences,
        training_features(config, prepared, options["progress"]),
        training_user_features(config, prepared),
        clicks / max(1, int(clicks.sum())),
        optimisation(config, stop_after, sequences.num_sequences),
        folder=run.path / "checkpoints",
        phase=phase,
        encoder_levels=() if language_model is None else language_model.levels,
        evaluate=evaluate,
        log_folder=run.path / "logs",
        **options,
    )


def _build(
    config: RunConfig,
    prepared: Prepared,
    interactions: Interactions,
    replicas: Replicas | None = None,
) -> TwoTowerModel | MatrixFactorisation:
    num_users = (
        interactions.num_users
        if isinstance(interactions, StreamedInteractions)
        else interactions["user_id"].n_unique()
    )
    with (replicas or Replicas()).scope():
        language_model = language_model_to_train(config, prepared.encoder)
        return build_model(
            config, len(prepared.catalogue), prepared.encoder, num_users, language_model
        )


def _on_one_device(
    config: RunConfig,
    prepared: Prepared,
    model: TwoTowerModel | MatrixFactorisation,
    replicas: Replicas,
) -> TwoTowerModel | MatrixFactorisation:
    """Returns a trained model as a single process would have it, to be measured and saved."""
    if not replicas.is_distributed:
        return model
    alone = _build(config, prepared, prepared.split.train)
    for variable, trained in zip(alone.variables, replicas.whole(model.variables), strict=True):
        variable.assign(np.asarray(trained.value))
    return alone


def _choose_start(
    config: RunConfig,
    prepared: Prepared,
    model: TwoTowerModel | MatrixFactorisation,
    interactions: Interactions,
    evaluate: Callable[[], float],
    progress: Progress,
) -> Start:
    seed = child_seed(config.train.seed, "start")
    if isinstance(model, MatrixFactorisation):
        return choose_factor_start(
            model,
            _pairs(prepared, interactions),
            prepared.item_features,
            evaluate,
            kind=config.model.start,
            seed=seed,
            progress=progress,
        )
    gap = _start_gap(config, prepared, interactions, progress)
    if config.towers.start == "random" or not gap:
        model.set_start(_random_start(config, prepared, model, interactions))
        return ChosenStart(None, None, evaluate())
    factors, features, make_start = _item_tower_starts(config, prepared, model, interactions, gap)
    return choose_start(
        model,
        factors,
        features,
        evaluate,
        text_share=config.towers.text_start_share,
        make_start=make_start,
        progress=progress,
    )


def _set_start(
    config: RunConfig,
    prepared: Prepared,
    model: TwoTowerModel | MatrixFactorisation,
    interactions: Interactions,
    start: Start,
) -> None:
    if isinstance(model, MatrixFactorisation):
        assert isinstance(start, ChosenFactorStart)
        set_factor_start(
            model,
            _pairs(prepared, interactions),
            prepared.item_features,
            start,
            seed=child_seed(config.train.seed, "start"),
        )
        return
    assert isinstance(start, ChosenStart)
    if start.text_share is None or start.power is None:
        model.set_start(_random_start(config, prepared, model, interactions))
        return
    gap = max(1, _start_gap(config, prepared, interactions, Silent()))
    _, _, make_start = _item_tower_starts(config, prepared, model, interactions, gap)
    model.set_start(make_start(start.text_share, start.power))


def _random_start(
    config: RunConfig, prepared: Prepared, model: TwoTowerModel, interactions: Interactions
) -> ItemTowerStart:
    return random_start(
        prepared.num_clicks(interactions),
        model.pool_corpus(prepared.item_features),
        config.towers.embedding_dim,
        child_seed(config.train.seed, "start"),
    )


def _start_gap(
    config: RunConfig, prepared: Prepared, interactions: Interactions, progress: Progress
) -> int:
    """Returns over which gaps near pairs are counted for the start; 0 where memory allows none."""
    if config.towers.start == "random" or not isinstance(interactions, StreamedInteractions):
        return MAX_GAP
    memory_gb = config.data.start_memory_gb
    gap = affordable_gap(
        interactions,
        config.towers.embedding_dim,
        int(prepared.item_features.shape[-1]),
        memory_gb * 1e9,
    )
    allowed = f"data.start_memory_gb = {memory_gb:g} allows"
    if gap == 0:
        if prepared.start_from is not None:
            raise UsageError(
                f"train.start_from needs a closed-form start, for which {allowed} no room. Raise "
                "it, or leave train.start_from out."
            )
        progress.message(f"the start is random: {allowed} no closed-form one")
    elif gap < MAX_GAP:
        progress.message(f"the start counts pairs up to {gap} items apart, as {allowed}")
    return gap


def _click_factors(
    config: RunConfig, prepared: Prepared, interactions: Interactions, gap: int
) -> ClickFactors:
    seed, num_factors = child_seed(config.train.seed, "start"), config.towers.embedding_dim
    if isinstance(interactions, StreamedInteractions):
        near = streamed_near_pairs(interactions, gap)
        return factorise_pairs(near, interactions.num_clicks, num_factors, seed)
    return factorise_clicks(_histories(interactions), len(prepared.catalogue), num_factors, seed)


def _item_tower_starts(
    config: RunConfig,
    prepared: Prepared,
    model: TwoTowerModel,
    interactions: Interactions,
    gap: int,
) -> tuple[ClickFactors, np.ndarray, Callable[[float, float], ItemTowerStart]]:
    """Returns click factors, one vector a text, and text share and power → start.

    A run to start from sets text part and user tower of the model on the way.
    """
    transfer = prepared.start_from
    if transfer is not None:
        transfer.apply(model, prepared.encoder.fingerprint)
    factors = _click_factors(config, prepared, interactions, gap)
    features = model.pool_corpus(prepared.item_features)

    def make_start(share: float, power: float) -> ItemTowerStart:
        if transfer is not None:
            return transfer.item_tower_start(factors, features, text_share=share, power=power)
        return start_item_tower(
            factors, features, config.towers.embedding_dim, text_share=share, power=power
        )

    return factors, features, make_start


def _with_start_from(config: RunConfig, prepared: Prepared) -> Prepared:
    """Loads the run to start from, and refuses one that does not fit before any long work."""
    path = config.train.start_from
    if path is None:
        return prepared
    other = TrainedModel.load(RunFolder.open_trained(path).model)
    model = _build(config, prepared, prepared.split.train)
    for whose, found in ((str(path), other.model), ("this run", model)):
        if not isinstance(found, TwoTowerModel):
            raise UsageError(
                f"train.start_from: {whose} has the model {found.kind}; only two towers can be "
                "started from, by two towers. Set model.kind: two_tower, or leave it out."
            )
    transfer = StartFromRun(other.model, other.encoder.fingerprint, str(path))
    transfer.apply(model, prepared.encoder.fingerprint)
    return dataclasses.replace(prepared, start_from=transfer)


def _pairs(prepared: Prepared, interactions: Interactions) -> Pairs:
    """Returns who took what, users in the order of their ids, as `SequenceDataset` numbers them."""
    return Pairs.from_frame(as_frame(interactions).sort("user_id"), len(prepared.catalogue))


def _histories(interactions: pl.DataFrame) -> list[np.ndarray]:
    grouped = (
        interactions.sort("user_id", "position")
        .group_by("user_id", maintain_order=True)
        .agg("item_number")["item_number"]
    )
    return [np.asarray(items, dtype=np.int32) for items in grouped.to_list()]


def _validation(
    config: RunConfig,
    prepared: Prepared,
    model: RetrievalModel,
    clicks: np.ndarray,
    features: Callable[[], Features] | None = None,
) -> Callable[[], float]:
    """Returns a function that measures NDCG@10 on (a seeded sample of) the validation set.

    `features` gives those of that moment; None takes the prepared ones.
    """
    queries = _sample(prepared.split.validation, _MAX_VALIDATION_QUERIES, config.train.seed)
    order = tie_order(prepared.catalogue.item_ids)
    scorer: RetrievalScorer | None = None

    def evaluate() -> float:
        nonlocal scorer
        if not len(queries):
            return 0.0
        items, texts = features() if features else (prepared.item_features, prepared.text_features)
        if scorer is None:
            scorer = RetrievalScorer(model, items, clicks, texts)
        else:
            scorer.renew(items, clicks, texts)
        lists = recommended_lists(scorer, queries, 10, order)
        return float(ndcg_at_k(target_ranks(lists, queries.targets), 10).mean())

    return evaluate


def _sample_queries(
    config: RunConfig, prepared: Prepared, model: RetrievalModel, clicks: np.ndarray
) -> np.ndarray:
    """Embeds some users, by which an approximate index will be compared with the exact one."""
    queries = _sample(prepared.split.validation, _MAX_SAMPLE_QUERIES, config.train.seed)
    if not len(queries):
        return np.zeros((0, model.embedding_dim), dtype=np.float32)
    scorer = RetrievalScorer(model, prepared.item_features, clicks, prepared.text_features)
    return scorer.embed(queries)


def _sample(queries: Queries, most: int, seed: int) -> Queries:
    if len(queries) <= most:
        return queries
    rows = child_generator(seed, "validation sample").choice(len(queries), most, replace=False)
    return queries.take(np.sort(rows))


def training_fingerprint(config: RunConfig, dataset: Dataset | ShardedDataset) -> str:
    """Hashes all that shapes the weights; what only shapes reports or the index is left out."""
    shaping = config.model_dump(
        mode="json", include={"split", "text", "encoder", "towers", "model", "train", "ranker"}
    )
    shaping["encoder"].pop("cache_folder")
    if isinstance(dataset, ShardedDataset):  # it bounds the start
        shaping["data"] = {"start_memory_gb": config.data.start_memory_gb}
    for key in ("strategy", "worker_timeout"):  # where it is trained may change on the way
        shaping["train"].pop(key)
    if not config.towers.time_gaps:  # as it was before there was such a setting
        shaping["towers"].pop("time_gaps")
    if config.train.start_from is not None:  # what that run is counts, not where it lies
        shaping["train"]["start_from"] = RunFolder(config.train.start_from).fingerprint
    return hashlib.sha256(
        json.dumps([shaping, dataset.sha256], sort_keys=True).encode()
    ).hexdigest()
