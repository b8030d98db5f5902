"""A model before its first step: built for what it trains on, its weights at their start."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable

import numpy as np

from tfrec_llm.baselines.interactions import Interactions as Pairs
from tfrec_llm.config.run_config import RunConfig
from tfrec_llm.data.histories import histories_of
from tfrec_llm.data.shards.streamed_interactions import Interactions, StreamedInteractions, as_frame
from tfrec_llm.errors import UsageError
from tfrec_llm.models.matrix_factorisation import MatrixFactorisation
from tfrec_llm.models.two_tower_model import TwoTowerModel
from tfrec_llm.progress import Progress, Silent
from tfrec_llm.seeds import child_seed
from tfrec_llm.serving.trained import TrainedModel
from tfrec_llm.towers.random_start import random_start
from tfrec_llm.towers.starts import (
    MAX_GAP,
    ClickFactors,
    ItemTowerStart,
    click_vectors,
    factorise_clicks,
    factorise_pairs,
    start_item_tower,
    tells_texts_apart,
)
from tfrec_llm.trainer.choose_factor_start import (
    ChosenFactorStart,
    choose_factor_start,
    set_factor_start,
)
from tfrec_llm.trainer.choose_start import ChosenStart, choose_start
from tfrec_llm.trainer.replicas import Replicas
from tfrec_llm.trainer.start_from_run import StartFromRun
from tfrec_llm.trainer.streamed_pairs import affordable_gap, streamed_near_pairs
from tfrec_llm.workflows.build import Prepared, build_model
from tfrec_llm.workflows.fine_tuning import language_model_to_train
from tfrec_llm.workflows.run_folder import RunFolder

Start = ChosenStart | ChosenFactorStart


def build_for_training(
    config: RunConfig,
    prepared: Prepared,
    interactions: Interactions,
    replicas: Replicas | None = None,
) -> TwoTowerModel | MatrixFactorisation:
    """Builds the model of a run, for all replicas, with a language model in it to train along."""
    num_users = (
        interactions.num_users
        if isinstance(interactions, StreamedInteractions)
        else interactions["user_id"].n_unique()
    )
    with (replicas or Replicas()).scope():
        language_model = language_model_to_train(config, prepared.encoder)
        return build_model(
            config,
            len(prepared.catalogue),
            prepared.encoder,
            num_users,
            language_model,
            ordered=prepared.dataset.has_order,
        )


def choose_model_start(
    config: RunConfig,
    prepared: Prepared,
    model: TwoTowerModel | MatrixFactorisation,
    interactions: Interactions,
    evaluate: Callable[[], float],
    progress: Progress,
) -> Start:
    """Sets a model to the start that `evaluate` finds best, and returns what was chosen."""
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


def set_model_start(
    config: RunConfig,
    prepared: Prepared,
    model: TwoTowerModel | MatrixFactorisation,
    interactions: Interactions,
    start: Start,
) -> None:
    """Sets a model to a start that was chosen before, worked out from these interactions."""
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


def with_start_from(config: RunConfig, prepared: Prepared) -> Prepared:
    """Loads the run to start from, and refuses one that does not fit before any long work."""
    path = config.train.start_from
    if path is None:
        return prepared
    other = TrainedModel.load(RunFolder.open_trained(path).model)
    model = build_for_training(config, prepared, prepared.split.train)
    for whose, found in ((str(path), other.model), ("this run", model)):
        if not isinstance(found, TwoTowerModel):
            raise UsageError(
                f"train.start_from: {whose} has the model {found.kind}; only two towers can be "
                "started from, by two towers. Set model.kind: two_tower, or leave it out."
            )
    transfer = StartFromRun(other.model, other.encoder.fingerprint, str(path))
    transfer.apply(model, prepared.encoder.fingerprint)
    return dataclasses.replace(prepared, start_from=transfer)


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
    ordered = prepared.dataset.has_order
    if isinstance(interactions, StreamedInteractions):
        near = streamed_near_pairs(interactions, gap, ordered=ordered)
        return factorise_pairs(near, interactions.num_clicks, num_factors, seed)
    histories = histories_of(interactions)
    return factorise_clicks(histories, len(prepared.catalogue), num_factors, seed, ordered=ordered)


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

    @functools.lru_cache(maxsize=1)  # the shares of a power are tried one after the other
    def collaborative(power: float) -> np.ndarray:
        return click_vectors(factors, features, power)

    def make_start(share: float, power: float) -> ItemTowerStart:
        if transfer is not None:
            return transfer.item_tower_start(factors, features, text_share=share, power=power)
        return start_item_tower(
            factors,
            features,
            config.towers.embedding_dim,
            text_share=share,
            power=power,
            collaborative=collaborative(power) if tells_texts_apart(features) else None,
        )

    return factors, features, make_start


def _pairs(prepared: Prepared, interactions: Interactions) -> Pairs:
    """Returns who took what, users in the order of their ids, as `SequenceDataset` numbers them."""
    return Pairs.from_frame(as_frame(interactions).sort("user_id"), len(prepared.catalogue))
