"""What training leaves behind, as one folder: towers, encoder, items and their embeddings."""

from __future__ import annotations

import dataclasses
import io
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from tfrec_llm.data.catalogue import Catalogue
from tfrec_llm.encoders.encoder import Encoder
from tfrec_llm.encoders.load_encoder import load_encoder
from tfrec_llm.errors import CorruptFileError, UsageError
from tfrec_llm.files import atomic_folder, sha256_of_file
from tfrec_llm.keras_api import keras
from tfrec_llm.models.matrix_factorisation import MatrixFactorisation
from tfrec_llm.models.two_tower_model import TwoTowerModel
from tfrec_llm.models.variables_file import restore_variables, save_variables
from tfrec_llm.neighbours.neighbour_table import NeighbourTable
from tfrec_llm.retrieval.add_neighbours import AddNeighbours
from tfrec_llm.retrieval.build_index import build_index
from tfrec_llm.serving.servable import Servable
from tfrec_llm.serving.trained_ranker import TrainedRanker
from tfrec_llm.towers.item_tower import ItemTower
from tfrec_llm.towers.user_tower import UserTower

_FORMAT = 1
_ARRAYS = ("item_embeddings", "sample_queries")
_NEIGHBOUR_ARRAYS = ("neighbour_numbers", "neighbour_weights")


@dataclass(frozen=True)
class TrainedModel:
    """A trained recommender, whole.

    Attributes:
        model: `TwoTowerModel` or `MatrixFactorisation`.
        encoder: what its features come from.
        catalogue: the corpus that it was trained on.
        num_clicks: int64 `(num_items,)`, training interactions of each item.
        item_embeddings: float32 `(num_items, embedding_dim)`.
        sample_queries: float32 `(num_queries, embedding_dim)`, embeddings of some users.
        neighbours: what is added to dot products; an empty table adds nothing.
        ranker: what orders the candidates anew, None where none was trained.
    """

    model: TwoTowerModel | MatrixFactorisation
    encoder: Encoder
    catalogue: Catalogue
    num_clicks: np.ndarray
    item_embeddings: np.ndarray
    sample_queries: np.ndarray
    neighbours: NeighbourTable
    ranker: TrainedRanker | None = None

    @property
    def popularity(self) -> np.ndarray:
        """Each item's share of the training interactions, float32 `(num_items,)`."""
        return (self.num_clicks / max(1, int(self.num_clicks.sum()))).astype(np.float32)

    def save(self, folder: str | Path) -> None:
        """Writes the folder, whole or not at all.

        Args:
            folder: must not exist, or be empty.
        """
        with atomic_folder(folder) as temporary:
            self.encoder.save(temporary / "encoder")
            if self.ranker is not None:
                self.ranker.save(temporary / "ranker")
            save_variables(temporary / "towers.safetensors", self.model.served_variables, {})
            frame = self.catalogue.frame.with_columns(num_clicks=pl.Series(self.num_clicks))
            frame.write_parquet(temporary / "items.parquet")
            arrays = {name: getattr(self, name) for name in _ARRAYS}
            arrays["neighbour_numbers"] = self.neighbours.numbers
            arrays["neighbour_weights"] = self.neighbours.weights
            for name, array in arrays.items():
                content = io.BytesIO()  # NumPy's own error of a full disk does not say so
                np.save(content, array, allow_pickle=False)
                (temporary / f"{name}.npy").write_bytes(content.getbuffer())
            files = [f"{name}.npy" for name in arrays] + ["items.parquet", "towers.safetensors"]
            about = {
                "format": _FORMAT,
                "kind": self.model.kind,
                "has_ranker": self.ranker is not None,
                "neighbour_decay": self.neighbours.decay,
                **_architecture(self.model),
                "sha256": {name: sha256_of_file(temporary / name) for name in files},
            }
            (temporary / "model.json").write_text(json.dumps(about, indent=1) + "\n")

    @classmethod
    def load(cls, folder: str | Path) -> TrainedModel:
        """Reads what `save` wrote.

        Raises:
            UsageError: when there is no trained model.
            CorruptFileError: when a file is missing or not as it was written.
        """
        folder = Path(folder)
        if not (folder / "model.json").is_file():
            raise UsageError(
                f"There is no trained model in {folder}. Train first, or finish a training that "
                "was stopped with `tfrec-llm train … --resume`."
            )
        try:
            about = json.loads((folder / "model.json").read_text())
            digests = dict(about["sha256"])
            decay = float(about["neighbour_decay"])
            model = _build(about)
        except (ValueError, KeyError, TypeError) as error:
            raise CorruptFileError(
                f"{folder / 'model.json'} is not as it was written ({error!r}). "
                "Restore it from a copy, or train again."
            ) from error
        for name, digest in digests.items():
            if not (folder / name).is_file() or sha256_of_file(folder / name) != digest:
                raise CorruptFileError(
                    f"{folder / name} is missing or not as it was written (sha256 differs). "
                    "Restore it from a copy, or train again."
                )
        restore_variables(folder / "towers.safetensors", model.served_variables)
        items = pl.read_parquet(folder / "items.parquet")
        arrays = {
            name: np.load(folder / f"{name}.npy", allow_pickle=False)
            for name in (*_ARRAYS, *_NEIGHBOUR_ARRAYS)
        }
        numbers, weights = (arrays.pop(name) for name in _NEIGHBOUR_ARRAYS)
        near = NeighbourTable(numbers, weights, decay)
        return cls(
            model=model,
            encoder=load_encoder(folder / "encoder"),
            catalogue=Catalogue(items),
            num_clicks=items["num_clicks"].to_numpy(),
            neighbours=near,
            ranker=TrainedRanker.load(folder / "ranker") if about.get("has_ranker") else None,
            **arrays,
        )

    def with_prior(self, share: float) -> TrainedModel:
        """Returns the same with a share of its prior, without training.

        Args:
            share: float in [0, 1]; 0 switches the prior off.

        Returns: `TrainedModel`; this one stays as it is.

        Raises: UsageError when there is no prior.
        """
        if share == 1.0:
            return self
        if not (isinstance(self.model, TwoTowerModel) and self.model.num_priors):
            raise UsageError(
                "This model has no popularity prior that could be scaled. Train it with "
                "`towers.popularity_prior: true`, or leave `index.popularity_prior` at 1."
            )
        model = _copy(self.model)
        model.scale_prior(share)
        kept = np.where(model.similarity_mask > 0, 1.0, share).astype(np.float32)
        return dataclasses.replace(self, model=model, item_embeddings=self.item_embeddings * kept)

    def servable(
        self,
        *,
        index: str = "scann",
        max_k: int = 100,
        index_options: Mapping[str, Any] | None = None,
    ) -> Servable:
        """Joins model, encoder and an index to what can be asked and exported.

        Args:
            index: `scann`, `ivf` or `brute_force`.
            max_k: int, the most items of an answer.
            index_options: arguments of that kind of index; what is None or not given is chosen by
                the size of the corpus.

        Returns: `Servable`.
        """
        built = build_index(index, self.item_embeddings, index_options, self.sample_queries)
        return Servable(
            model=self.model,
            encoder=self.encoder,
            item_ids=self.catalogue.item_ids,
            titles=self.catalogue.titles,
            item_embeddings=self.item_embeddings,
            popularity=self.popularity,
            index=built,
            max_k=max_k,
            max_history=self.model.max_history,
            texts=self.catalogue.texts,
            model_numbers=np.where(self.num_clicks > 0, np.arange(len(self.num_clicks)), -1),
            neighbours=None if self.neighbours.is_empty else AddNeighbours(self.neighbours),
            reranking=None if self.ranker is None else self.ranker.reranking(self.encoder),
            similarity_mask=self.model.similarity_mask,
            time_gaps=self.model.time_gaps,
        )


def _copy(model: TwoTowerModel) -> TwoTowerModel:
    copy = _build({"kind": model.kind, **_architecture(model)})
    assert isinstance(copy, TwoTowerModel)
    for target, source in zip(copy.served_variables, model.served_variables, strict=True):
        target.assign(source.value)
    return copy


def _architecture(model: TwoTowerModel | MatrixFactorisation) -> dict[str, Any]:
    """Returns what `_build` makes the same model of, JSON values."""
    if isinstance(model, MatrixFactorisation):
        return {"matrix_factorisation": model.architecture}
    return {
        "item_tower": _arguments(model.item_tower),
        "user_tower": _arguments(model.user_tower),
        "feature_dim": model.feature_dim,
        "num_priors": model.num_priors,
    }


def _build(about: dict[str, Any]) -> TwoTowerModel | MatrixFactorisation:
    if about.get("kind") == MatrixFactorisation.kind:
        return MatrixFactorisation(**about["matrix_factorisation"])
    item_tower, user_tower = ItemTower(**about["item_tower"]), UserTower(**about["user_tower"])
    return TwoTowerModel(
        item_tower, user_tower, int(about["feature_dim"]), num_priors=int(about["num_priors"])
    )


def _arguments(layer: keras.layers.Layer) -> dict[str, Any]:
    """Returns the constructor arguments of a tower, without what Keras adds of its own."""
    return {k: v for k, v in layer.get_config().items() if k not in ("dtype", "trainable", "name")}
