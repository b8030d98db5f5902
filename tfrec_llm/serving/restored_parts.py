"""The model and the encoder inside an export, to build its next version from."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from tfrec_llm.keras_api import tf
from tfrec_llm.neighbours.neighbour_table import NeighbourTable
from tfrec_llm.serving.export_files import EMBEDDINGS_FILE, ITEMS_FILE, QUERIES_FILE
from tfrec_llm.serving.op_libraries import register_ops
from tfrec_llm.serving.refresh_facts import RefreshFacts
from tfrec_llm.serving.requirements_file import read_requirements, verify_files


class RestoredModel:
    """The two towers of an export.

    Attributes:
        has_ranker: bool, whether the export has a ranker.
        similarity_mask: float32 `(D,)`, see `Servable`, or None.
        time_gaps: bool, whether `embed_users` takes gaps too.
    """

    def __init__(self, loaded: Any) -> None:
        self.variables: Sequence[Any] = []  # all of them belong to the encoder, see below
        self.embed_items = loaded.part_embed_items
        self.embed_users = loaded.part_embed_users
        # Exports of before there was a prior have none, and no mask.
        mask = getattr(loaded, "similarity_mask", None)
        self.similarity_mask: np.ndarray | None = None if mask is None else mask.numpy()
        self.has_ranker = hasattr(loaded, "reranking")
        self.time_gaps = "recommend_timed" in loaded.signatures


class RestoredEncoder:
    """The text encoder of an export, with the variables and tables of all parts."""

    def __init__(self, loaded: Any) -> None:
        self.embed = loaded.part_encode
        shape = loaded.part_encode.concrete_functions[0].structured_outputs.shape
        self.dim = int(shape[-1])
        self.num_tokens = None if len(shape) == 2 else -1  # any number
        self.variables: Sequence[Any] = list(loaded._saved_variables)
        self.trackables: Sequence[Any] = list(loaded._saved_resources)


@dataclass(frozen=True)
class RestoredExport:
    """All that the next version of an export is made from.

    Attributes:
        model: the towers. Its numbers of items are those of the column `model_number`.
        encoder: the text encoder.
        facts: what the export noted for this.
        items: frame of `item_id`, `title`, `text`, `popularity`, `model_number`.
        embeddings: float32 `(num_items, D)`.
        neighbours: `NeighbourTable`; an empty one where the export has none.
        sample_queries: float32 `(num_queries, D)`, embeddings of some users; None without.
        reranking: the ranker as TensorFlow loads it, None where the export has none.
    """

    model: RestoredModel
    encoder: RestoredEncoder
    facts: RefreshFacts
    items: pl.DataFrame
    embeddings: np.ndarray
    neighbours: NeighbourTable
    sample_queries: np.ndarray | None
    reranking: Any


def restored_parts(version_folder: str | Path) -> tuple[RestoredModel, RestoredEncoder]:
    """Restores the towers and the encoder of an export.

    What is built of these two alone answers the six signatures of every export; the rest, a
    ranker among it, is in `restored_export`.

    Args:
        version_folder: folder of one version.

    Returns: model and encoder. The model numbers its items as in the column `model_number` of
        `assets.extra/items.parquet`.

    Raises:
        UsageError: when the folder is no export.
        CorruptFileError: when a file is not as it was written.
    """
    loaded = _loaded(Path(version_folder))
    return RestoredModel(loaded), RestoredEncoder(loaded)


def restored_export(version_folder: str | Path) -> RestoredExport:
    """Restores all that the next version of an export is made from.

    Args:
        version_folder: folder of one version.

    Raises:
        UsageError: when the folder is no export, or one that cannot be refreshed.
        CorruptFileError: when a file is not as it was written.
        MissingPackageError: when a library that the export needs is not installed.
    """
    folder = Path(version_folder)
    facts = RefreshFacts.read(folder)
    loaded = _loaded(folder)
    items = pl.read_parquet(folder / ITEMS_FILE)
    neighbours = NeighbourTable.empty(items.height)
    if hasattr(loaded, "neighbours"):
        near = loaded.neighbours
        neighbours = NeighbourTable(
            near.numbers.numpy(), near.weights.numpy(), facts.neighbour_decay
        )
    elif facts.neighbours is not None:
        neighbours = dataclasses.replace(neighbours, decay=facts.neighbours.decay)
    queries = folder / QUERIES_FILE
    return RestoredExport(
        model=RestoredModel(loaded),
        encoder=RestoredEncoder(loaded),
        facts=facts,
        items=items,
        embeddings=np.load(folder / EMBEDDINGS_FILE, allow_pickle=False),
        neighbours=neighbours,
        sample_queries=np.load(queries, allow_pickle=False) if queries.is_file() else None,
        reranking=getattr(loaded, "reranking", None),
    )


def _loaded(folder: Path) -> Any:
    requires = read_requirements(folder)
    verify_files(folder, requires)
    register_ops(sorted({entry["library"] for entry in requires["custom_ops"]}))
    return tf.saved_model.load(str(folder))
