"""The phases of a training: on the training part alone, then on training + validation."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import numpy as np

from tfrec_llm.config.run_config import RunConfig
from tfrec_llm.data.shards.streamed_interactions import Interactions
from tfrec_llm.evaluation.ndcg import ndcg_at_k
from tfrec_llm.evaluation.recommended_lists import recommended_lists, target_ranks
from tfrec_llm.evaluation.top_k import tie_order
from tfrec_llm.models.matrix_factorisation import MatrixFactorisation
from tfrec_llm.models.retrieval_model import RetrievalModel
from tfrec_llm.models.retrieval_scorer import RetrievalScorer
from tfrec_llm.models.two_tower_model import TwoTowerModel
from tfrec_llm.seeds import child_generator
from tfrec_llm.trainer.choose_factor_start import ChosenFactorStart
from tfrec_llm.trainer.choose_start import ChosenStart
from tfrec_llm.trainer.replicas import Replicas
from tfrec_llm.trainer.shared_batches import sequences_of
from tfrec_llm.trainer.train_two_tower import FitResult, fit
from tfrec_llm.workflows.build import (
    Prepared,
    optimisation,
    training_features,
    training_user_features,
)
from tfrec_llm.workflows.fine_tuning import Features, features_of_the_moment, language_model_of
from tfrec_llm.workflows.run_folder import RunFolder, corrupt_file
from tfrec_llm.workflows.untrained_model import (
    Start,
    build_for_training,
    choose_model_start,
    set_model_start,
)

_MAX_VALIDATION_QUERIES = 4000
_START_FILE = "checkpoints/start.json"


def select_phase(
    config: RunConfig, prepared: Prepared, run: RunFolder, options: dict[str, Any]
) -> tuple[TwoTowerModel | MatrixFactorisation, np.ndarray, Start, FitResult]:
    """Trains on the training part; the validation set says how to start and when to stop."""
    interactions = prepared.split.train
    clicks = prepared.num_clicks(interactions)
    model = build_for_training(config, prepared, interactions, options["replicas"])
    features = features_of_the_moment(config, prepared, model, options["progress"])
    chosen = run.read_json(_START_FILE)
    if chosen is not None:
        try:
            is_factors = isinstance(model, MatrixFactorisation)
            start = ChosenFactorStart(**chosen) if is_factors else ChosenStart(**chosen)
        except TypeError as error:
            raise corrupt_file(run.path / _START_FILE, str(error)) from error
        set_model_start(config, prepared, model, interactions, start)
    else:
        # The language model is as it was, so the features that are there already are those.
        evaluate = _validation(config, prepared, model, clicks)
        start = choose_model_start(
            config, prepared, model, interactions, evaluate, options["progress"]
        )
        run.write_json(_START_FILE, dataclasses.asdict(start))
    result = fit_phase(
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


def refit_phase(
    config: RunConfig,
    prepared: Prepared,
    run: RunFolder,
    start: Start,
    selected: FitResult,
    options: dict[str, Any],
) -> tuple[TwoTowerModel | MatrixFactorisation, np.ndarray, FitResult]:
    """Trains anew on training + validation, as long as was best on validation."""
    interactions = prepared.split.train_and_validation
    model = build_for_training(config, prepared, interactions, options["replicas"])
    set_model_start(config, prepared, model, interactions, start)
    result = fit_phase(
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


def fit_phase(
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
    """Trains one phase, `select` or `refit`, for `stop_after` epochs at most; see `fit`."""
    clicks = prepared.num_clicks(interactions)
    language_model = language_model_of(model)
    sequences = sequences_of(
        interactions,
        config.towers.max_history,
        prepared.user_rows,
        options.get("replicas"),
        time_gaps=model.time_gaps,
        ordered=prepared.dataset.has_order,
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


def _on_one_device(
    config: RunConfig,
    prepared: Prepared,
    model: TwoTowerModel | MatrixFactorisation,
    replicas: Replicas,
) -> TwoTowerModel | MatrixFactorisation:
    """Returns a trained model as a single process would have it, to be measured and saved."""
    if not replicas.is_distributed:
        return model
    alone = build_for_training(config, prepared, prepared.split.train)
    for variable, trained in zip(alone.variables, replicas.whole(model.variables), strict=True):
        variable.assign(np.asarray(trained.value))
    return alone


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
    queries = prepared.split.validation.sample(
        _MAX_VALIDATION_QUERIES, child_generator(config.train.seed, "validation sample")
    )
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
