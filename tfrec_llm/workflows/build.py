"""Configuration → objects: the only place that knows both."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl

from tfrec_llm.config.run_config import DataSection, RunConfig
from tfrec_llm.data.catalogue import Catalogue
from tfrec_llm.data.queries import Queries
from tfrec_llm.data.readers import READERS
from tfrec_llm.data.schema import Dataset
from tfrec_llm.data.shards.sharded_dataset import ShardedDataset, read_shards
from tfrec_llm.data.shards.split_shards import split_shards
from tfrec_llm.data.shards.streamed_interactions import Interactions, StreamedInteractions
from tfrec_llm.data.splits import Split, split
from tfrec_llm.data.tables import read_tables
from tfrec_llm.encoders.encoder import Encoder
from tfrec_llm.encoders.feature_cache import FeatureCache
from tfrec_llm.encoders.fine_tuning import FineTuning
from tfrec_llm.encoders.language_encoder import LanguageEncoder
from tfrec_llm.encoders.load_encoder import load_encoder
from tfrec_llm.encoders.no_text_encoder import NoTextEncoder
from tfrec_llm.encoders.sparse_coding_encoder import SparseCodingEncoder
from tfrec_llm.encoders.text_encoder import TextEncoder
from tfrec_llm.encoders.token_rows import token_rows
from tfrec_llm.encoders.word_embedding_encoder import WordEmbeddingEncoder
from tfrec_llm.encoders.word_encoder import WORD_WEIGHTS, WordEncoder
from tfrec_llm.encoders.words_beside_encoder import WordsBesideEncoder
from tfrec_llm.errors import DataError, EncoderError, UsageError
from tfrec_llm.keras_api import keras
from tfrec_llm.models.matrix_factorisation import MatrixFactorisation
from tfrec_llm.models.two_tower_model import TwoTowerModel
from tfrec_llm.progress import Progress, Silent
from tfrec_llm.seeds import child_generator, child_seed
from tfrec_llm.text.augment_text import augment_texts
from tfrec_llm.towers.item_tower import ItemTower
from tfrec_llm.towers.recency_mean import RECENCY
from tfrec_llm.towers.user_tower import UserTower
from tfrec_llm.trainer.start_from_run import StartFromRun
from tfrec_llm.trainer.train_two_tower import Optimisation
from tfrec_llm.workflows.run_folder import RunFolder

_MOST_STREAMED_TEST_CASES = 10_000
# Validation cases of shards, each of which scores the whole corpus after every epoch.
_MOST_SCORES, _FEWEST_VALIDATION, _MOST_VALIDATION = 2 * 10**8, 500, 4000
# Matrices that start from zero bear more than weights that are good already.
_ENCODER_LEARNING_RATES = {"frozen": 2e-5, "lora": 2e-4, "last_layers": 2e-5, "full": 2e-5}
# Of the number of texts: with as many columns as texts, words would tell each by heart.
_MOST_WORD_COLUMNS = 0.25


@dataclass(frozen=True)
class Prepared:
    """Everything that training and evaluation start from.

    Attributes:
        dataset: the checked tables.
        catalogue: the corpus.
        split: what is trained on and what is held out.
        encoder: the language model, or the encoding of words.
        item_features: float32 `(num_items, feature_dim)`, or token vectors, float16
            `(num_items, tokens, feature_dim)`.
        user_features: the same of the texts of users.
        user_rows: user id → row of `user_features`.
        text_features: user text → its features.
        start_from: another run that the training starts from, if there is one.
        untuned: the same with the encoder as it was before a training tuned it, else None.
    """

    dataset: Dataset | ShardedDataset
    catalogue: Catalogue
    split: Split
    encoder: Encoder
    item_features: np.ndarray
    user_features: np.ndarray
    user_rows: dict[str, int]
    text_features: dict[str, np.ndarray]
    start_from: StartFromRun | None = None
    untuned: Prepared | None = None

    @property
    def user_texts(self) -> list[str]:
        """The texts of users, in the order of the rows of `user_features`."""
        return list(self.text_features)

    def num_clicks(self, interactions: Interactions) -> np.ndarray:
        """Returns how often each item stands in the interactions, int64 `(num_items,)`."""
        if isinstance(interactions, StreamedInteractions):
            return interactions.num_clicks
        return np.bincount(interactions["item_number"].to_numpy(), minlength=len(self.catalogue))


def read_dataset(data: DataSection) -> Dataset | ShardedDataset:
    """Reads and checks the tables that a configuration names; shards stay on disk."""
    if data.source == "shards":
        assert data.folder is not None
        return read_shards(data.folder)
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
    return read_tables(
        data.items,
        data.interactions,
        data.users,
        **reading_options(data),
        name=data.items.stem,
    )


def reading_options(data: DataSection) -> dict[str, Any]:
    """Returns what `read_tables` and `write_shards` are told of tables, but for the files."""
    columns = data.columns
    return {
        "item_id": columns.item_id,
        "item_text": columns.item_text,
        "user_id": columns.user_id,
        "user_text": columns.user_text,
        "timestamp": columns.timestamp,
        "rating": columns.rating,
        "min_rating": data.min_rating,
        "ordered": data.ordered,
        "max_quarantined_share": data.max_quarantined_share,
    }


def build_encoder(
    config: RunConfig,
    texts: Sequence[str],
    language_model: TextEncoder | None = None,
    progress: Progress | None = None,
) -> Encoder:
    """Makes the encoder of a configuration.

    Args:
        config: the run.
        texts: the texts of the corpus, for encoders that count its words.
        language_model: one that is loaded already; None loads that of the configuration.
        progress: told of the texts that are encoded on the way.

    Returns: the encoder.
    """
    encoder = config.encoder
    stop_words: Sequence[str] = ()
    if config.text.stop_words is not None:
        from tfrec_llm.text.stop_words import load_stop_words

        stop_words = load_stop_words(config.text.stop_words)
    cleaning: dict[str, Any] = {"clean": config.text.clean, "stop_words": stop_words}
    seed = child_seed(config.train.seed, "encoder")
    if encoder.kind == "none":
        return NoTextEncoder()
    if encoder.kind == "word_embedding":
        return WordEmbeddingEncoder.fit(
            texts, encoder.num_words, config.text.max_tokens, **cleaning
        )
    if encoder.kind in WORD_WEIGHTS:
        return WordEncoder.fit(
            encoder.kind, texts, encoder.num_words, encoder.dim, seed, **cleaning
        )
    model: TextEncoder | LanguageEncoder
    model = language_model or _language_model(config, encoder.preset, cleaning)
    if encoder.preset_zh is not None:
        chinese = _language_model(config, encoder.preset_zh, cleaning)
        model = LanguageEncoder(model, chinese)
    model.fit(texts)
    if encoder.kind != "sparse_coding" and not encoder.words_beside:
        return model
    theirs = _words_of_start(config, model) if encoder.words_beside else None
    if theirs is not None:
        return theirs
    vectors = FeatureCache(encoder.cache_folder).features(
        model, texts, batch_size=encoder.batch_size, progress=progress
    )
    if encoder.kind == "sparse_coding":
        return SparseCodingEncoder.fit(model, vectors, encoder.dim, seed)
    try:
        columns = min(encoder.words_beside, max(1, int(_MOST_WORD_COLUMNS * len(texts))))
        words = WordEncoder.fit("tfidf", texts, encoder.num_words, columns, seed, **cleaning)
    except EncoderError:
        if encoder.word_columns is None:  # no text holds a word: the language model is all
            return model
        raise
    return WordsBesideEncoder.fit(model, vectors, words, texts)


def _words_of_start(config: RunConfig, model: Encoder) -> WordsBesideEncoder | None:
    """Returns the encoder of the run to start from, whose text part reads its words, if it fits."""
    if config.train.start_from is None:
        return None
    theirs = load_encoder(RunFolder.open_trained(config.train.start_from).model / "encoder")
    if not isinstance(theirs, WordsBesideEncoder):
        return None
    return theirs if theirs.language_model.fingerprint == model.fingerprint else None


def _language_model(config: RunConfig, preset: str, cleaning: dict[str, Any]) -> TextEncoder:
    return TextEncoder.from_preset(
        preset,
        pooling=config.encoder.pooling,
        pooling_layers=config.encoder.pooling_layers,
        max_tokens=config.text.max_tokens,
        precision=config.encoder.precision,
        **cleaning,
    )


def prepare(
    config: RunConfig,
    dataset: Dataset | ShardedDataset,
    encoder: Encoder | None = None,
    progress: Progress | None = None,
    *,
    language_model: TextEncoder | None = None,
) -> Prepared:
    """Splits the data and encodes its texts, each once.

    Args:
        config: the run.
        dataset: the checked tables, or shards.
        encoder: the encoder of the features, ready; None makes that of the configuration.
        progress: listener.
        language_model: what that is made with; None loads that of the configuration.

    Returns: `Prepared`.
    """
    progress = progress or Silent()
    catalogue = Catalogue(dataset.items)
    parts = split_dataset(config, dataset, catalogue)
    with_text = dataset.users.filter(pl.col("text") != "")
    texts = with_text["text"].unique(maintain_order=True).to_list()
    if encoder is None:
        encoder = build_encoder(config, catalogue.texts, language_model, progress)
    item_features, user_features = _features(config, encoder, catalogue.texts, texts, progress)
    row_of_text = {text: row for row, text in enumerate(texts)}
    return Prepared(
        dataset=dataset,
        catalogue=catalogue,
        split=parts,
        encoder=encoder,
        item_features=item_features,
        user_features=user_features,
        user_rows={u: row_of_text[t] for u, t in with_text.select("user_id", "text").iter_rows()},
        text_features={text: user_features[row] for text, row in row_of_text.items()},
    )


def split_dataset(
    config: RunConfig, dataset: Dataset | ShardedDataset, catalogue: Catalogue
) -> Split:
    """Returns what a run with this configuration trains on, and what it holds out."""
    if isinstance(dataset, ShardedDataset):
        return split_shards(
            dataset,
            cold_user_share=config.split.cold_user_share,
            max_validation=max(
                _FEWEST_VALIDATION, min(_MOST_VALIDATION, _MOST_SCORES // len(catalogue))
            ),
            max_test=config.evaluate.max_users or _MOST_STREAMED_TEST_CASES,
            seed=config.train.seed,
        )
    parts = split(
        dataset,
        catalogue,
        protocol=config.split.protocol,
        cold_user_share=config.split.cold_user_share,
        cold_item_share=config.split.cold_item_share,
        test_share=config.split.test_share,
        train_share=config.split.train_share,
        seed=config.train.seed,
    )
    if config.towers.time_gaps and parts.test.gaps is None:
        raise DataError(
            f"towers.time_gaps learns from the times of interactions, and {dataset.name} has none "
            "(seconds since 1970 above 0, or dates): name their column in data.columns.timestamp, "
            "or set towers.time_gaps to false"
        )
    return parts


def measured_queries(config: RunConfig, parts: Split) -> Queries:
    """Returns the test cases that are measured: all, or a seeded sample of `evaluate.max_users`."""
    queries, most = parts.test, config.evaluate.max_users
    if most is None:
        return queries
    return queries.sample(most, child_generator(config.train.seed, "test sample"))


def with_encoder(
    config: RunConfig, prepared: Prepared, encoder: Encoder, progress: Progress | None = None
) -> Prepared:
    """Encodes the same texts with another encoder.

    Args:
        config: the run.
        prepared: see `prepare`.
        encoder: the other encoder.
        progress: told of the texts that are encoded.

    Returns: `Prepared`.
    """
    texts = prepared.user_texts
    item_features, user_features = _features(
        config, encoder, prepared.catalogue.texts, texts, progress or Silent()
    )
    return dataclasses.replace(
        prepared,
        encoder=encoder,
        item_features=item_features,
        user_features=user_features,
        text_features=dict(zip(texts, user_features, strict=True)),
    )


def language_model_alone(
    config: RunConfig, prepared: Prepared, progress: Progress | None = None
) -> Prepared:
    """Returns what was prepared without words beside the language model, as it is if it has none.

    Its vectors come from the cache.
    """
    if not isinstance(prepared.encoder, WordsBesideEncoder):
        return prepared
    return with_encoder(config, prepared, prepared.encoder.language_model, progress)


def _features(
    config: RunConfig,
    encoder: Encoder,
    item_texts: Sequence[str],
    user_texts: Sequence[str],
    progress: Progress,
) -> tuple[np.ndarray, np.ndarray]:
    features = FeatureCache(config.encoder.cache_folder).features(
        encoder,
        [*item_texts, *user_texts],
        batch_size=config.encoder.batch_size,
        progress=progress,
    )
    return features[: len(item_texts)], features[len(item_texts) :]


def training_features(
    config: RunConfig, prepared: Prepared, progress: Progress | None = None
) -> np.ndarray:
    """Returns what training reads of the items, followed by that of their augmented copies.

    These are features, or tokens where the language model is trained along.

    Args:
        config: the run.
        prepared: see `prepare`.
        progress: told of the copies that are encoded; each is, once.

    Returns: as `prepared.item_features`, or int32 tokens as `token_rows` gives them,
        `(1 + copies) * num_items` rows: all originals, then the first copy of all items, and so
        on. Without copies these very features.
    """
    if config.encoder.mode != "frozen":
        assert isinstance(prepared.encoder, TextEncoder)
        return token_rows(prepared.encoder, [*prepared.catalogue.texts, *_copies(config, prepared)])
    if not config.train.text_copies:
        return prepared.item_features
    features = FeatureCache(config.encoder.cache_folder).features(
        prepared.encoder,
        _copies(config, prepared),
        batch_size=config.encoder.batch_size,
        progress=progress,
    )
    return np.concatenate([prepared.item_features, features])


def training_user_features(config: RunConfig, prepared: Prepared) -> np.ndarray:
    """Returns what training reads of the texts of users, rows as in `prepared.user_features`."""
    if config.encoder.mode == "frozen":
        return prepared.user_features
    assert isinstance(prepared.encoder, TextEncoder)
    return token_rows(prepared.encoder, prepared.user_texts)


def _copies(config: RunConfig, prepared: Prepared) -> list[str]:
    train = config.train
    if not train.text_copies:
        return []
    return augment_texts(
        prepared.catalogue.texts,
        prepared.catalogue.item_ids,
        titles=prepared.catalogue.titles,
        copies=train.text_copies,
        seed=train.seed,
        token_dropout=train.token_dropout,
        span_deletion=train.span_deletion,
        swap_fields=train.swap_fields,
    )


def build_model(
    config: RunConfig,
    num_items: int,
    encoder: Encoder,
    num_users: int = 0,
    language_model: FineTuning | None = None,
    *,
    ordered: bool = True,
) -> TwoTowerModel | MatrixFactorisation:
    """Makes an untrained model of the shape that a configuration asks for.

    The same configuration gives the same weights, whatever was made before.

    Args:
        config: the run.
        num_items: int, size of the corpus.
        encoder: what the features come from.
        num_users: int, users to train on; two towers do not need to know.
        language_model: what is trained along with two towers.
        ordered: bool, whether the order of a history means anything; without one the user tower
            starts from the plain mean, not one in which the newest items weigh more.
    """
    keras.utils.set_random_seed(child_seed(config.train.seed, "weights"))
    towers = config.towers
    if config.model.kind == "matrix_factorisation":
        return MatrixFactorisation(
            num_items,
            towers.embedding_dim,
            feature_dim=encoder.dim,
            num_users=num_users,
            max_history=towers.max_history,
            loss=config.model.loss,
            temperature=config.train.temperature,
            learn_temperature=config.train.learn_temperature,
            # An item whose id is dropped is left to its text; without texts there is nothing.
            item_id_dropout=0.0 if config.encoder.kind == "none" else towers.item_id_dropout,
            dropout=towers.dropout,
            seed=child_seed(config.train.seed, "item id dropout"),
        )
    return TwoTowerModel(
        ItemTower(
            num_items=num_items if towers.item_ids else 0,
            embedding_dim=towers.embedding_dim,
            item_id_dropout=0.0 if config.encoder.kind == "none" else towers.item_id_dropout,
            item_id_rate=towers.item_id_rate,
            dropout=towers.dropout,
            seed=child_seed(config.train.seed, "item id dropout"),
            language_model=language_model,
            **_pooling(config, encoder),
        ),
        UserTower(
            history_kind=towers.history,
            max_history=towers.max_history,
            num_layers=towers.num_layers,
            num_heads=towers.num_heads,
            dropout=towers.dropout,
            time_gaps=towers.time_gaps,
            recency=RECENCY if ordered else 1.0,
        ),
        feature_dim=encoder.dim,
        temperature=config.train.temperature,
        learn_temperature=config.train.learn_temperature,
        task_options={
            "num_hard_negatives": config.train.num_hard_negatives,
            "false_negative_margin": config.train.false_negative_margin,
            "queue_size": config.train.queued_negatives,
            "label_smoothing": config.train.label_smoothing,
            "debias_share": config.train.debias_share,
        },
        gradient_cache_rows=config.train.gradient_cache_rows,
        num_priors=num_items if towers.popularity_prior else 0,
    )


def _pooling(config: RunConfig, encoder: Encoder) -> dict[str, Any]:
    """Returns the arguments of an item tower that say how it pools token vectors."""
    if encoder.num_tokens is None:
        return {}
    pooling: str = config.encoder.pooling
    options: dict[str, Any] = {}
    if isinstance(encoder, WordEmbeddingEncoder):
        pooling = "word_embedding"
        seed = child_seed(config.train.seed, "word embeddings")
        options = {"num_words": encoder.num_words, "dim": config.encoder.dim, "seed": seed}
    elif pooling == "attention":
        options = {"heads": config.encoder.pooling_heads}
    return {"pooling": pooling, "pooling_options": options}


def optimisation(config: RunConfig, stop_after: int, num_sequences: int) -> Optimisation:
    """Returns the settings of one training phase over so many histories."""
    train, encoder = config.train, config.encoder
    has_text = encoder.kind != "none"  # else nothing can be told from a text alone
    return Optimisation(
        batch_size=train.batch_size or min(256, max(32, num_sequences // 24)),
        epochs=train.epochs,
        stop_after=stop_after,
        learning_rate=train.learning_rate,
        encoder_learning_rate=encoder.learning_rate or _ENCODER_LEARNING_RATES[encoder.mode],
        layer_decay=encoder.layer_decay,
        weight_decay=train.weight_decay,
        warmup_share=train.warmup_share,
        text_search_weight=train.text_search_weight if has_text else 0.0,
        uniform_negatives=train.uniform_negatives,
        text_only_share=train.text_only_share if has_text else 0.0,
        patience=train.patience,
        seed=train.seed,
    )
