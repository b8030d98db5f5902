"""Neighbours and a prior beside the towers: how much they count, and what is served of them."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
from scipy import sparse

from tfrec_llm.config.run_config import RunConfig
from tfrec_llm.data.histories import histories_of
from tfrec_llm.data.queries import Queries
from tfrec_llm.data.shards.streamed_interactions import (
    MOST_IN_MEMORY,
    MOST_ITEMS,
    Interactions,
    fit_into_memory,
)
from tfrec_llm.models.retrieval_scorer import RetrievalScorer
from tfrec_llm.models.two_tower_model import TwoTowerModel
from tfrec_llm.neighbours.find_neighbours import NeighbourSettings, find_neighbours
from tfrec_llm.neighbours.neighbour_table import NeighbourTable
from tfrec_llm.prior.item_prior import PriorParts, PriorWeights
from tfrec_llm.prior.latest_cases import latest_cases
from tfrec_llm.progress import Progress
from tfrec_llm.seeds import child_generator, child_seed
from tfrec_llm.trainer.choose_neighbours import ChosenNeighbours, choose_neighbours
from tfrec_llm.workflows.build import Prepared
from tfrec_llm.workflows.fine_tuning import features_of_the_moment
from tfrec_llm.workflows.run_folder import RunFolder, corrupt_file

_FILE = "checkpoints/neighbours.json"
# Validation cases × items, held several times over. Two weights of a hundredth's difference in NDCG
# are told apart by thousands of cases.
_MAX_SCORES, _MAX_CASES = 100_000_000, 8000
_MAX_SCORES_FOR_NEW_ITEMS, _MAX_CASES_FOR_NEW_ITEMS = 40_000_000, 4000
_FEWEST_LATE_CASES, _FEWEST_CASES = 4000, 200


def chosen_neighbours(
    config: RunConfig, prepared: Prepared, run: RunFolder, model: Any, progress: Progress
) -> ChosenNeighbours:
    """Chooses how much neighbours and a prior count, or reads what was chosen before a resume.

    Args:
        config: the run.
        prepared: its data.
        run: its folder.
        model: trained on the training part.
        progress: listener.

    Returns: `ChosenNeighbours`; that of towers alone where nothing else is wanted, and for a matrix
        factorisation, whose scores have no fixed unit.
    """
    wanted = config.towers.neighbours or config.towers.popularity_prior
    if not wanted or not isinstance(model, TwoTowerModel):
        return ChosenNeighbours()
    interactions = prepared.split.train
    if not fit_into_memory(interactions):
        progress.message(
            f"neighbours and prior are left out: {interactions.height} interactions with "
            f"{len(prepared.catalogue)} items are more than the {MOST_IN_MEMORY} with {MOST_ITEMS} "
            "among which they are looked for"
        )
        return ChosenNeighbours()
    noted = run.read_json(_FILE)
    if noted is not None:
        try:
            chosen = ChosenNeighbours(
                **{
                    **noted,
                    "settings": NeighbourSettings(**noted["settings"]),
                    "prior": PriorWeights(**noted["prior"]),
                }
            )
        except (TypeError, KeyError) as error:
            raise corrupt_file(run.path / _FILE, str(error)) from error
    else:
        chosen = _choose(config, prepared, model, progress)
        run.write_json(_FILE, dataclasses.asdict(chosen))
    settings = chosen.settings
    progress.message(
        f"beside the towers: neighbours of weight {settings.weight} (new items "
        f"{settings.new_weight}, of length {chosen.new_item_scale}), prior of "
        f"{chosen.prior.lateness:g} late and {chosen.prior.popularity:g} popular, validation "
        f"NDCG@100 {chosen.validation_ndcg_without:.4f} → {chosen.validation_ndcg:.4f}"
    )
    return chosen


def put_beside(
    model: Any,
    config: RunConfig,
    prepared: Prepared,
    interactions: Interactions,
    chosen: ChosenNeighbours,
) -> NeighbourTable:
    """Gives a model the chosen prior and length of new items, and finds the neighbours of items.

    Args:
        model: trained on these interactions; its prior and its `new_item_scale` are set.
        config: the run.
        prepared: its data.
        interactions: what neighbours and prior are worked out from.
        chosen: how much they count.

    Returns: `NeighbourTable`, an empty one where neighbours do not count.
    """
    num_items, settings = len(prepared.catalogue), chosen.settings
    if isinstance(model, TwoTowerModel):
        model.new_item_scale.assign(chosen.new_item_scale)
    has_neighbours = settings.weight or settings.word_weight or settings.new_weight
    has_prior = chosen.prior != PriorWeights()
    histories = histories_of(interactions) if has_neighbours or has_prior else []
    if has_prior:
        model.item_prior.assign(_prior_parts(prepared, histories).prior(chosen.prior))
    if not has_neighbours:
        nothing = sparse.csr_matrix((num_items, num_items), dtype=np.float32)
        return NeighbourTable.from_matrix(nothing, settings.decay)
    return find_neighbours(histories, _texts(config, prepared), settings)


def _choose(
    config: RunConfig, prepared: Prepared, model: TwoTowerModel, progress: Progress
) -> ChosenNeighbours:
    num_items, seed = len(prepared.catalogue), config.train.seed
    histories = histories_of(prepared.split.train)
    parts = _prior_parts(prepared, histories)
    queries = prepared.split.validation
    if prepared.dataset.has_order:
        queries = latest_cases(queries, parts.lateness, fewest=_FEWEST_LATE_CASES)
    most = min(_MAX_CASES, max(_FEWEST_CASES, _MAX_SCORES // num_items))
    few = max(_FEWEST_CASES, _MAX_SCORES_FOR_NEW_ITEMS // num_items)
    queries = queries.sample(most, child_generator(seed, "neighbour validation"))
    items, texts = features_of_the_moment(config, prepared, model, progress)()
    scorer = RetrievalScorer(model, items, np.ones(num_items), texts)

    def embed(
        queries: Queries, is_new: np.ndarray, new_item_scale: float
    ) -> tuple[np.ndarray, np.ndarray]:
        model.new_item_scale.assign(new_item_scale)
        scorer.renew(items, ~is_new, texts)
        return scorer.embed(queries), scorer.item_embeddings

    return choose_neighbours(
        queries,
        histories,
        _texts(config, prepared),
        embed,
        num_neighbours=config.towers.neighbours,
        prior_parts=parts if model.num_priors else None,
        cases_for_new_items=min(_MAX_CASES_FOR_NEW_ITEMS, few),
        new_item_cost=config.towers.new_item_cost,
        seed=child_seed(seed, "items taken for new"),
        progress=progress,
    )


def _prior_parts(prepared: Prepared, histories: list[np.ndarray]) -> PriorParts:
    return PriorParts.from_histories(
        histories, len(prepared.catalogue), ordered=prepared.dataset.has_order
    )


def _texts(config: RunConfig, prepared: Prepared) -> list[str]:
    """Returns the texts of the items, none where the run does without."""
    return (
        [""] * len(prepared.catalogue)
        if config.encoder.kind == "none"
        else prepared.catalogue.texts
    )
