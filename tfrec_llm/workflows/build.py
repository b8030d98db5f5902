"""Configuration → objects: the only place that knows both."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import polars as pl

from tfrec_llm.config.run_config import DataSection, RunConfig
from tfrec_llm.data.catalogue import Catalogue
from tfrec_llm.data.readers import READERS
from tfrec_llm.data.schema import Dataset
from tfrec_llm.data.splits import Split, split
from tfrec_llm.data.tables import read_tables
from tfrec_llm.encoders.feature_cache import FeatureCache
from tfrec_llm.encoders.text_encoder import TextEncoder
from tfrec_llm.errors import UsageError
from tfrec_llm.models.two_tower_model import TwoTowerModel
from tfrec_llm.progress import Progress, Silent
from tfrec_llm.seeds import child_seed
from tfrec_llm.towers.item_tower import ItemTower
from tfrec_llm.towers.user_tower import UserTower
from tfrec_llm.trainer.train_two_tower import Optimisation


@dataclass(frozen=True)
class Prepared:
    """Everything that training and evaluation start from.

    Attributes:
        dataset: the checked tables.
        catalogue: the corpus.
        split: what is trained on and what is held out.
        encoder: the language model.
        item_features: float32 `(num_items, feature_dim)`.
        user_features: float32 `(num_user_texts, feature_dim)`.
        user_rows: user id → row of `user_features`.
        text_features: user text → its features.
    """

    dataset: Dataset
    catalogue: Catalogue
    split: Split
    encoder: TextEncoder
    item_features: np.ndarray
    user_features: np.ndarray
    user_rows: dict[str, int]
    text_features: dict[str, np.ndarray]

    def num_clicks(self, interactions: pl.DataFrame) -> np.ndarray:
        """Returns how often each item stands in the interactions, int64 `(num_items,)`."""
        return np.bincount(interactions["item_number"].to_numpy(), minlength=len(self.catalogue))


def read_dataset(data: DataSection) -> Dataset:
    """Reads and checks the tables that a configuration names."""
    if data.source == "memory":
        raise UsageError(
            "This run was trained on tables handed over in Python, which cannot be read again. Use "
            "the methods of the Recommender that `tfrec_llm.train` returned, or write the tables "
            "to files and name them in data.items and data.interactions."
        )
    if data.source != "tables":
        options = {"max_quarantined_share": data.max_quarantined_share}
        if "min_rating" in data.model_fields_set and data.min_rating is not None:
            options["min_rating"] = data.min_rating
        if data.source == "bookshop":
            return READERS["bookshop"](**options)
        return READERS[data.source](data.folder, **options)
    assert data.items is not None and data.interactions is not None
    columns = data.columns
    return read_tables(
        data.items,
        data.interactions,
        data.users,
        item_id=columns.item_id,
        item_text=columns.item_text,
        user_id=columns.user_id,
        user_text=columns.user_text,
        timestamp=columns.timestamp,
        rating=columns.rating,
        min_rating=data.min_rating,
        ordered=data.ordered,
        max_quarantined_share=data.max_quarantined_share,
        name=data.items.stem,
    )


def build_encoder(config: RunConfig) -> TextEncoder:
    """Loads the language model of a configuration."""
    return TextEncoder.from_preset(
        config.encoder.preset,
        pooling=config.encoder.pooling,
        max_tokens=config.text.max_tokens,
        precision=config.encoder.precision,
        clean=config.text.clean,
    )


def prepare(
    config: RunConfig,
    dataset: Dataset,
    encoder: TextEncoder | None = None,
    progress: Progress | None = None,
) -> Prepared:
    """Splits the data and encodes its texts, each once.

    Args:
        config: the run.
        dataset: the checked tables.
        encoder: a language model that is loaded already.
        progress: listener.

    Returns: `Prepared`.
    """
    progress = progress or Silent()
    catalogue = Catalogue(dataset.items)
    parts = split(
        dataset,
        catalogue,
        protocol=config.split.protocol,
        cold_user_share=config.split.cold_user_share,
        cold_item_share=config.split.cold_item_share,
        test_share=config.split.test_share,
        seed=config.train.seed,
    )
    encoder = encoder or build_encoder(config)
    with_text = dataset.users.filter(pl.col("text") != "")
    texts = with_text["text"].unique(maintain_order=True).to_list()
    features = FeatureCache(config.encoder.cache_folder).features(
        encoder,
        [*catalogue.texts, *texts],
        batch_size=config.encoder.batch_size,
        progress=progress,
    )
    user_features = features[len(catalogue) :]
    row_of_text = {text: row for row, text in enumerate(texts)}
    return Prepared(
        dataset=dataset,
        catalogue=catalogue,
        split=parts,
        encoder=encoder,
        item_features=features[: len(catalogue)],
        user_features=user_features,
        user_rows={u: row_of_text[t] for u, t in with_text.select("user_id", "text").iter_rows()},
        text_features={text: user_features[row] for text, row in row_of_text.items()},
    )


def build_model(config: RunConfig, num_items: int, feature_dim: int) -> TwoTowerModel:
    """Makes an untrained model of the shape that a configuration asks for."""
    towers = config.towers
    return TwoTowerModel(
        ItemTower(
            num_items=num_items if towers.item_ids else 0,
            embedding_dim=towers.embedding_dim,
            item_id_dropout=towers.item_id_dropout,
            dropout=towers.dropout,
            seed=child_seed(config.train.seed, "item id dropout"),
        ),
        UserTower(
            history_kind=towers.history,
            max_history=towers.max_history,
            num_layers=towers.num_layers,
            num_heads=towers.num_heads,
            dropout=towers.dropout,
        ),
        feature_dim=feature_dim,
        temperature=config.train.temperature,
        learn_temperature=config.train.learn_temperature,
    )


def optimisation(config: RunConfig, stop_after: int) -> Optimisation:
    """Returns the settings of one training phase."""
    train = config.train
    return Optimisation(
        batch_size=train.batch_size,
        epochs=train.epochs,
        stop_after=stop_after,
        learning_rate=train.learning_rate,
        weight_decay=train.weight_decay,
        warmup_share=train.warmup_share,
        text_search_weight=train.text_search_weight,
        uniform_negatives=train.uniform_negatives,
        text_only_share=train.text_only_share,
        patience=train.patience,
        seed=train.seed,
    )
