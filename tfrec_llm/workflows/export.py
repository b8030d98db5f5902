"""A trained run → one more version of a SavedModel."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tfrec_llm.config.run_config import IndexSection
from tfrec_llm.errors import UsageError
from tfrec_llm.neighbours.find_neighbours import NeighbourSettings
from tfrec_llm.progress import Progress, Silent
from tfrec_llm.retrieval.build_index import KINDS, choose_kind
from tfrec_llm.serving.requirements_file import read_requirements
from tfrec_llm.serving.saved_model import write_export
from tfrec_llm.serving.trained import TrainedModel
from tfrec_llm.workflows.run_folder import RunFolder

_IVF_RECALL = 0.95


def export(
    run: str | Path,
    out: str | Path,
    *,
    index: str | None = None,
    serve_on: str | None = None,
    max_k: int | None = None,
    popularity_prior: float | None = None,
    progress: Progress | None = None,
) -> dict[str, Any]:
    """Writes the next version of an export, checked in a fresh process before it appears.

    Args:
        run: folder of a finished training.
        out: folder of versions.
        index: `scann`, `ivf`, `brute_force` or `auto`; None for the kind of the run's
            configuration.
        serve_on: `stock` or `scann`, the server that `auto` chooses for; None for that of the
            configuration.
        max_k: int, the most items of an answer; None for that of the configuration.
        popularity_prior: float in [0, 1], share of the chosen prior that is served; None for that
            of the configuration.
        progress: listener.

    Returns: `path`, `version`, `index` (its settings), `index_reason` (None where the kind was
        given), `index_recall@10`, `size_bytes`,
        `stock_tensorflow_serving`, and `ranker_item_tokens_bytes`, None without a ranker.

    Raises:
        UsageError: when the folder holds no finished training.
        ExportError: when the export cannot be written or answers differently.
    """
    folder = RunFolder.open_trained(run)
    metrics = folder.read_json("metrics.json")
    given = {
        "kind": index,
        "serve_on": serve_on,
        "max_k": max_k,
        "popularity_prior": popularity_prior,
    }
    settings = folder.config.index.model_copy(
        update={name: value for name, value in given.items() if value is not None}
    )
    return export_trained(
        TrainedModel.load(folder.model),
        out,
        settings,
        folder.training or {},
        metrics,
        progress,
    )


def export_trained(
    trained: TrainedModel,
    out: str | Path,
    settings: IndexSection,
    training: dict[str, Any],
    metrics: dict[str, Any] | None = None,
    progress: Progress | None = None,
) -> dict[str, Any]:
    """Exports a model in memory; see `export`."""
    progress = progress or Silent()
    trained = trained.with_prior(settings.popularity_prior)
    kind: str = settings.kind
    reason = None
    if kind == "auto":
        kind, reason = choose_kind(len(trained.catalogue), settings.serve_on)
        progress.message(f"index {kind}: {reason}")
    if kind not in KINDS:
        raise UsageError(f"`index` must be auto or one of {', '.join(KINDS)}, got {kind!r}.")
    progress.message(f"building the {kind} index over {len(trained.catalogue)} items")
    servable = trained.servable(
        index=kind, max_k=settings.max_k, index_options=_options(kind, settings)
    )
    card: dict[str, Any] = {
        key: training[key] for key in ("data", "encoder", "seed", "versions") if key in training
    }
    if settings.popularity_prior != 1.0:
        card["popularity_prior"] = (
            f"{settings.popularity_prior:g} of what was chosen; test figures were measured with 1"
        )
    if metrics is not None:
        card["test_figures"] = {
            name: {key: parts["all"].get(key) for key in ("recall@10", "ndcg@10", "recall@100")}
            for name, parts in metrics["models"].items()
        }
    progress.message("writing, then loading in a fresh process as a server would")
    version = write_export(
        servable,
        out,
        metadata={"name": training.get("data", {}).get("name", "Recommender"), **card},
        recall_queries=trained.sample_queries if len(trained.sample_queries) else None,
        min_index_recall=settings.min_recall,
        for_refresh=_for_refresh(training),
    )
    requires = read_requirements(version)
    return {
        "path": str(version),
        "version": int(version.name),
        "index": servable.index.parameters,
        "index_reason": reason,
        "index_recall@10": requires["index_recall@10"],
        "size_bytes": sum(p.stat().st_size for p in version.rglob("*") if p.is_file()),
        "stock_tensorflow_serving": requires["stock_tensorflow_serving"],
        "ranker_item_tokens_bytes": (
            None if servable.reranking is None else servable.reranking.item_tokens_bytes
        ),
    }


def _options(kind: str, settings: IndexSection) -> dict[str, Any]:
    """Returns what the configuration says of a kind of index."""
    if kind == "scann":
        names = ("num_leaves", "num_leaves_to_search", "num_reordering_candidates")
        return {name: getattr(settings, name) for name in names}
    if kind == "ivf":
        return {
            "num_lists": settings.num_lists,
            "num_lists_to_search": settings.num_lists_to_search,
            "min_recall": max(_IVF_RECALL, settings.min_recall),
        }
    return {}


def _for_refresh(training: Mapping[str, Any]) -> dict[str, Any]:
    """Returns what a training notes of its table of items and of neighbours."""
    data, settings = training.get("data", {}), training.get("neighbours", {}).get("settings")
    try:
        neighbours = None if settings is None else NeighbourSettings(**settings)
    except TypeError as error:
        raise UsageError(
            f"The run notes neighbours in another way ({error}): it was trained by another version "
            "of tfrec_llm. Train it again, or export it with that version."
        ) from error
    noted = {
        "item_id": data.get("item_id_column"),
        "item_text": tuple(data.get("item_text_columns", ())) or None,
        "neighbours": neighbours,
    }
    return {name: value for name, value in noted.items() if value is not None}
