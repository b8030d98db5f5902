"""Neighbours beside the towers: how much they count, and the table that is served."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
from scipy import sparse

from tfrec_llm.baselines.interactions import Interactions
from tfrec_llm.config.run_config import RunConfig
from tfrec_llm.data.shards.streamed_interactions import (
    MOST_IN_MEMORY,
    MOST_ITEMS,
    StreamedInteractions,
    as_frame,
)
from tfrec_llm.data.shards.streamed_interactions import Interactions as Training
from tfrec_llm.models.retrieval_scorer import RetrievalScorer
from tfrec_llm.models.two_tower_model import TwoTowerModel
from tfrec_llm.neighbours.find_neighbours import NeighbourSettings, find_neighbours
from tfrec_llm.neighbours.neighbour_table import NeighbourTable
from tfrec_llm.progress import Progress
from tfrec_llm.seeds import child_generator, child_seed
from tfrec_llm.trainer.choose_neighbours import ChosenNeighbours, choose_neighbours
from tfrec_llm.workflows.build import Prepared
from tfrec_llm.workflows.fine_tuning import features_of_the_moment
from tfrec_llm.workflows.run_folder import RunFolder, corrupt_file

_FILE = "checkpoints/neighbours.json"
_MAX_SCORES = 40_000_000  # of validation cases × items, held several times over
_MAX_QUERIES = 4000


def chosen_neighbours(
    config: RunConfig, prepared: Prepared, run: RunFolder, model: Any, progress: Progress
) -> ChosenNeighbours:
    """Chooses how much neighbours count, or reads what was chosen before a resume.

    Args:
        config: the run.
        prepared: its data.
        run: its folder.
        model: trained on the training part; its `new_item_scale` is set to the chosen one.
        progress: listener.

    Returns: `ChosenNeighbours`; that of towers alone where none are wanted, and for a matrix
        factorisation, whose scores have no fixed unit.
    """
    if not config.towers.neighbours or not isinstance(model, TwoTowerModel):
        return ChosenNeighbours()
    interactions = prepared.split.train
    if isinstance(interactions, StreamedInteractions) and not interactions.fit_into_memory:
        progress.message(
            f"neighbours are left out: {interactions.height} interactions with "
            f"{interactions.num_items} items are more than the {MOST_IN_MEMORY} with {MOST_ITEMS} "
            "among which they are looked for"
        )
        return ChosenNeighbours()
    noted = run.read_json(_FILE)
    if noted is not None:
        try:
            chosen = ChosenNeighbours(
                **{**noted, "settings": NeighbourSettings(**noted["settings"])}
            )
        except (TypeError, KeyError) as error:
            raise corrupt_file(run.path / _FILE, str(error)) from error
    else:
        chosen = _choose(config, prepared, model, progress)
        run.write_json(_FILE, dataclasses.asdict(chosen))
    model.new_item_scale.assign(chosen.new_item_scale)
    settings = chosen.settings
    progress.message(
        f"neighbours: weight {settings.weight} (new items {settings.new_weight}, of length "
        f"{chosen.new_item_scale}), validation NDCG@100 {chosen.validation_ndcg_without:.4f} → "
        f"{chosen.validation_ndcg:.4f}"
    )
    return chosen


def neighbour_table(
    config: RunConfig, prepared: Prepared, interactions: Training, chosen: ChosenNeighbours
) -> NeighbourTable:
    """Finds the neighbours of every item in the interactions that a model was trained on."""
    num_items, settings = len(prepared.catalogue), chosen.settings
    if not (settings.weight or settings.word_weight or settings.new_weight):
        nothing = sparse.csr_matrix((num_items, num_items), dtype=np.float32)
        return NeighbourTable.from_matrix(nothing, settings.decay)
    pairs = Interactions.from_frame(as_frame(interactions), num_items)
    return find_neighbours(pairs.histories, _texts(config, prepared), chosen.settings)


def _choose(
    config: RunConfig, prepared: Prepared, model: TwoTowerModel, progress: Progress
) -> ChosenNeighbours:
    num_items, seed = len(prepared.catalogue), config.train.seed
    most = min(_MAX_QUERIES, max(200, _MAX_SCORES // num_items))
    queries = prepared.split.validation.sample(most, child_generator(seed, "neighbour validation"))
    items, texts = features_of_the_moment(config, prepared, model, progress)()
    scorer = RetrievalScorer(model, items, np.ones(num_items), texts)

    def embed(is_new: np.ndarray, new_item_scale: float) -> tuple[np.ndarray, np.ndarray]:
        model.new_item_scale.assign(new_item_scale)
        scorer.renew(items, ~is_new, texts)
        return scorer.embed(queries), scorer.item_embeddings

    return choose_neighbours(
        queries,
        Interactions.from_frame(as_frame(prepared.split.train), num_items).histories,
        _texts(config, prepared),
        embed,
        num_neighbours=config.towers.neighbours,
        new_item_cost=config.towers.new_item_cost,
        seed=child_seed(seed, "items taken for new"),
        progress=progress,
    )


def _texts(config: RunConfig, prepared: Prepared) -> list[str]:
    """Returns the texts of the items, none where the run does without."""
    return (
        [""] * len(prepared.catalogue)
        if config.encoder.kind == "none"
        else prepared.catalogue.texts
    )
