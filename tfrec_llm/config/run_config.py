"""A whole run as data: every setting, its meaning, unit and default."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

Share = Annotated[float, Field(ge=0.0, lt=1.0)]
LEARNED_POOLINGS = ("weighted", "attention", "lstm", "gru")
_WORD_COLUMNS = 512
OF_TWO_TOWERS = (
    "queued_negatives",
    "num_hard_negatives",
    "false_negative_margin",
    "label_smoothing",
    "debias_share",
    "gradient_cache_rows",
)


class Section(BaseModel):
    """Base of all sections: unknown keys are faults, values are not coerced from odd types."""

    model_config = ConfigDict(
        extra="forbid", validate_default=True, protected_namespaces=(), allow_inf_nan=False
    )


class ColumnNames(Section):
    """Which column of the user's tables holds what."""

    item_id: str = "item_id"
    item_text: list[str] | None = Field(
        None, description="text columns of the items, in order; null takes every text column"
    )
    user_id: str = "user_id"
    user_text: list[str] | None = Field(
        None, description="text columns of the users, in order; null takes every text column"
    )
    timestamp: str | None = Field(
        None, description="number of seconds or ISO date; null takes `timestamp` if it is there"
    )
    rating: str | None = Field(None, description="null takes `rating` if it is there")


class DataSection(Section):
    """Where the tables come from."""

    source: Literal[
        "tables", "shards", "bookshop", "movielens", "microlens", "goodbooks", "memory"
    ] = Field(
        "tables",
        description="shards: what `tfrec-llm shard` wrote, for interactions larger than the "
        "memory; memory: tables handed over in Python, not read by this run",
    )
    folder: Path | None = Field(None, description="folder of shards or of a named reader's files")
    items: Path | None = None
    interactions: Path | None = None
    users: Path | None = None
    columns: ColumnNames = Field(default_factory=ColumnNames)
    min_rating: float | None = Field(None, description="rows below it are not positives")
    ordered: bool = Field(
        True,
        description="false: rows without a timestamp have no order: use protocol random; training "
        "takes histories for sets",
    )
    max_quarantined_share: float = Field(
        0.5, ge=0.0, le=1.0, description="stop when more than this share of a table is rejected"
    )
    start_memory_gb: float = Field(
        4.0,
        gt=0.0,
        description="of shards: memory that towers.start factorised may take; near pairs are "
        "counted over smaller gaps to fit, and where that is not enough the start is random",
    )

    @model_validator(mode="after")
    def _needs_its_files(self) -> DataSection:
        if self.source == "tables":
            missing = [key for key in ("items", "interactions") if getattr(self, key) is None]
            if missing:
                raise ValueError(
                    "source `tables` needs "
                    + " and ".join(f"data.{key}" for key in missing)
                    + "; or name a reader in data.source, such as bookshop"
                )
        elif self.source not in ("bookshop", "memory") and self.folder is None:
            raise ValueError(f"source `{self.source}` needs data.folder, where its files lie")
        return self


class SplitSection(Section):
    """What is held out, and how."""

    protocol: Literal["leave_one_out", "random", "temporal", "cold_items"] = "leave_one_out"
    cold_user_share: Share = Field(0.05, description="users kept out of training altogether")
    cold_item_share: Annotated[float, Field(gt=0.0, lt=1.0)] = Field(
        0.1, description="protocol cold_items: items that lose every interaction from training"
    )
    test_share: Annotated[float, Field(gt=0.0, lt=0.5)] = Field(
        0.1, description="protocol temporal: newest share of the interactions for the test"
    )
    train_share: Annotated[float, Field(gt=0.0, le=1.0)] = Field(
        1.0, description="seeded share of the training interactions that is kept"
    )


class TextSection(Section):
    """How text is made ready for the language model."""

    clean: Literal["none", "light", "full"] = "none"
    stop_words: Path | None = Field(
        None, description="clean: full drops these words too, one a line, beside its own lists"
    )
    language: Literal["auto", "en", "zh"] = "auto"
    max_tokens: int = Field(64, ge=4, le=512)


class EncoderSection(Section):
    """What turns a text into features: a language model, or a plain encoding of its words."""

    kind: Literal[
        "language_model", "tfidf", "bm25", "one_hot", "word_embedding", "sparse_coding", "none"
    ] = Field("language_model", description="the others are the encodings to compare it with")
    preset: str = "all_minilm_l6_v2_en"
    preset_zh: str | None = Field(
        None, description="a second language model, which reads the texts that are in Chinese"
    )
    pooling: Literal[
        "mean", "cls", "max", "last", "sif", "layers", "weighted", "attention", "lstm", "gru"
    ] = Field("mean", description="tokens → one vector; the last four are learned with the towers")
    pooling_heads: int = Field(4, ge=1, le=64, description="of pooling: attention")
    pooling_layers: int = Field(4, ge=1, le=64, description="of pooling: layers, last ones joined")
    mode: Literal["frozen", "lora", "last_layers", "full"] = Field(
        "frozen", description="which weights of the language model are trained with the towers"
    )
    lora_rank: int = Field(8, ge=1, le=256, description="of mode: lora")
    train_layers: int = Field(2, ge=1, le=100, description="of mode: last_layers, the last ones")
    learning_rate: float | None = Field(
        None,
        gt=0.0,
        description="highest, of the top layer of a language model in training; null: 2e-4 of "
        "mode lora, 2e-5 of the others",
    )
    layer_decay: Annotated[float, Field(gt=0.0, le=1.0)] = Field(
        0.9, description="each layer has this times the learning rate of the one above"
    )
    precision: Literal["float32", "mixed_bfloat16"] = "float32"
    batch_size: int = Field(32, ge=1)
    num_words: int = Field(20_000, ge=1, description="vocabulary of the encodings of words")
    dim: int = Field(256, ge=2, le=4096, description="width of the encodings of words")
    word_columns: int | None = Field(
        None,
        ge=0,
        le=4096,
        description="columns of weighted words (TF-IDF) beside the vector of a frozen language "
        "model, a quarter of the number of texts at most; null: 512 where there is one vector a "
        "text, 0: none",
    )
    cache_folder: Path | None = Field(
        None, description="null: $TFREC_LLM_CACHE, else ~/.cache/tfrec_llm"
    )

    @property
    def words_beside(self) -> int:
        """Columns of words beside the language model: as asked for, or as many as it can have."""
        if self.word_columns is not None:
            return self.word_columns
        can_have = self.kind == "language_model" and self.mode == "frozen"
        return _WORD_COLUMNS if can_have and self.pooling not in LEARNED_POOLINGS else 0


class ModelSection(Section):
    """Which recommender is trained on the features."""

    kind: Literal["two_tower", "matrix_factorisation"] = "two_tower"
    loss: Literal["bpr", "warp", "softmax"] = Field(
        "softmax", description="of matrix_factorisation; two_tower has its sampled softmax"
    )
    start: Literal["als", "random"] = Field("als", description="of matrix_factorisation")


class TowersSection(Section):
    """The shape of the two towers."""

    embedding_dim: int = Field(256, ge=2, le=2048)
    history: Literal["mean", "attention", "gru", "lstm", "transformer"] = "transformer"
    max_history: int = Field(50, ge=1, le=1000)
    time_gaps: bool = Field(
        False, description="how long ago the item before was taken, as an input of the history"
    )
    item_ids: bool = True
    start: Literal["factorised", "random"] = Field(
        "factorised",
        description="where training starts: click and text likeness in closed form, or nowhere",
    )
    item_id_dropout: Share = 0.4
    item_id_rate: float = Field(
        8.0, gt=0.0, description="how many times as fast as the rest the ids of two towers learn"
    )
    popularity_prior: bool = Field(
        True,
        description="one number an item beside two towers, for being taken late and against being "
        "popular, weights chosen on validation; index.popularity_prior: how much of it is served",
    )
    dropout: Share = 0.3
    text_start_share: Annotated[float, Field(ge=0.0, le=1.0)] | None = Field(
        None,
        description="share of the start that comes from likeness of text, not of clicks; null: "
        "chosen on validation",
    )
    neighbours: int = Field(
        100,
        ge=0,
        le=1000,
        description="of each item, by clicks and for new items by words, that are added to the dot "
        "product with weights chosen on validation; 0: none",
    )
    new_item_cost: Share = Field(
        0.02,
        description="share of the validation NDCG@100 that may be given for showing new items, "
        "which have no clicks yet, more often",
    )
    num_layers: int = Field(1, ge=1, le=12, description="layers of a transformer history")
    num_heads: int = Field(2, ge=1, le=64)


class TrainSection(Section):
    """The optimisation."""

    batch_size: int | None = Field(
        None,
        ge=2,
        description="histories a step; null: a 24th of all, from 32 to 256: little data needs many "
        "steps, much data gains nothing from larger ones",
    )
    epochs: int = Field(10, ge=0, description="0: the untrained start")
    learning_rate: float = Field(0.002, gt=0.0)
    weight_decay: float = Field(0.05, ge=0.0)
    warmup_share: Share = 0.1
    uniform_negatives: int = Field(2048, ge=0)
    queued_negatives: int = Field(
        0, ge=0, description="candidates of past steps that go on serving as negatives, 0: none"
    )
    num_hard_negatives: int | None = Field(
        None, ge=1, description="highest-scored negatives kept for each query; null: all"
    )
    false_negative_margin: float | None = Field(
        None,
        ge=-2.0,
        le=2.0,
        description="cosine; negatives that score above positive + margin are dropped; null: none",
    )
    label_smoothing: Share = Field(
        0.0, description="share of the label that the negatives of a query are given together"
    )
    debias_share: Share = Field(
        0.0, description="expected share of false negatives among the negatives, subtracted"
    )
    gradient_cache_rows: int | None = Field(
        None,
        ge=1,
        description="items embedded at a time in a step, each twice, in the memory of so many; "
        "null: all at once",
    )
    temperature: float = Field(0.1, gt=0.0)
    learn_temperature: bool = True
    text_only_share: Share = Field(
        0.2, description="share of users with text whose history is hidden in a step"
    )
    text_search_weight: float = Field(
        0.2, ge=0.0, description="weight of asking for items by their own text, 0: not done"
    )
    text_copies: int = Field(
        0, ge=0, le=16, description="augmented copies of each item text, drawn from in training"
    )
    token_dropout: Share = Field(0.1, description="of text_copies: share of the words left out")
    span_deletion: Share = Field(0.2, description="of text_copies: share of the text cut in one")
    swap_fields: bool = Field(True, description="of text_copies: the text columns change places")
    start_from: Path | None = Field(
        None,
        description="another run with the same encoder and widths, whose text part and user "
        "tower this one starts from",
    )
    strategy: Literal["none", "mirrored", "multi_worker"] = Field(
        "none",
        description="replicas that train as one: none, the GPUs of this machine, or the machines "
        "that TF_CONFIG names; batch_size is that of all together",
    )
    worker_timeout: float = Field(
        600.0, gt=0.0, description="seconds that a step of multi_worker waits for the others"
    )
    patience: int = Field(4, ge=1, description="epochs without a better validation NDCG@10")
    refit: bool = Field(True, description="train again on training + validation before the test")
    seed: int = Field(7, ge=0)


class RankerSection(Section):
    """The pointwise ranker, which orders the candidates of the retriever anew."""

    train: bool = False
    fusion: Literal["concat", "correlation"] = "correlation"
    token_dim: int | None = Field(
        64, ge=2, description="tokens are projected to it before the LSTM; null: they are not"
    )
    lstm_units: int = Field(128, ge=1)
    max_tokens: int = Field(32, ge=1, description="tokens of a text that the ranker reads")
    max_history: int = Field(20, ge=1, description="items of a history that the ranker reads")
    negatives: int = Field(4, ge=1, description="sampled for each positive pair")
    hard_share: Share = Field(
        0.5, description="share of the negatives from the retriever's own candidates"
    )
    batch_size: int = Field(256, ge=2)
    epochs: int = Field(5, ge=1)
    learning_rate: float = Field(0.002, gt=0.0)
    candidates: int = Field(100, ge=1, description="of the retriever, that are ordered anew")


class EvaluateSection(Section):
    """What is measured."""

    ks: list[Annotated[int, Field(ge=1, le=100)]] = [10, 20, 100]
    max_users: int | None = Field(
        None, ge=1, description="seeded sample of the test cases; null: all, of shards 10 000"
    )
    bootstrap_samples: int = Field(1000, ge=10)


class IndexSection(Section):
    """The top-k index inside the export. null: chosen by the size of the corpus."""

    kind: Literal["scann", "ivf", "brute_force", "auto"] = "scann"
    max_k: int = Field(100, ge=1, le=10_000)
    serve_on: Literal["stock", "scann"] = Field("stock", description="the server, for kind auto")
    num_leaves: int | None = Field(None, ge=1)
    num_leaves_to_search: int | None = Field(None, ge=1)
    num_reordering_candidates: int | None = Field(None, ge=1)
    num_lists: int | None = Field(None, ge=1, description="of the kind ivf")
    num_lists_to_search: int | None = Field(None, ge=1, description="of the kind ivf")
    min_recall: float = Field(0.9, ge=0.0, le=1.0, description="against exact search, or refused")
    popularity_prior: float = Field(
        1.0, ge=0.0, le=1.0, description="share of towers.popularity_prior that is served; 0: none"
    )


class RunConfig(Section):
    """One run, from tables to index."""

    data: DataSection
    split: SplitSection = Field(default_factory=SplitSection)
    text: TextSection = Field(default_factory=TextSection)
    encoder: EncoderSection = Field(default_factory=EncoderSection)
    towers: TowersSection = Field(default_factory=TowersSection)
    model: ModelSection = Field(default_factory=ModelSection)
    train: TrainSection = Field(default_factory=TrainSection)
    ranker: RankerSection = Field(default_factory=RankerSection)
    evaluate: EvaluateSection = Field(default_factory=EvaluateSection)
    index: IndexSection = Field(default_factory=IndexSection)

    @model_validator(mode="after")
    def _encoder_fits(self) -> RunConfig:
        kind, is_learned = self.encoder.kind, self.encoder.pooling in LEARNED_POOLINGS
        if kind == "sparse_coding" and is_learned:
            raise ValueError(
                "encoder.kind `sparse_coding` codes one vector a text, which encoder.pooling "
                f"`{self.encoder.pooling}` does not give; use mean, cls, max, last, sif or layers"
            )
        if self.encoder.word_columns and (kind != "language_model" or is_learned):
            raise ValueError(
                "encoder.word_columns puts words beside one vector a text of a language model, "
                f"which encoder.kind `{kind}` with encoder.pooling `{self.encoder.pooling}` does "
                "not give: set it to 0 or null"
            )
        if kind == "word_embedding" and self.model.kind == "matrix_factorisation":
            raise ValueError(
                "encoder.kind `word_embedding` is learned with two towers; use model.kind "
                "two_tower, or encoder.kind tfidf"
            )
        if kind == "none" and not self.towers.item_ids:
            raise ValueError(
                "encoder.kind `none` leaves nothing but ids: set towers.item_ids to true"
            )
        return self

    @model_validator(mode="after")
    def _can_be_streamed(self) -> RunConfig:
        if self.data.source != "shards":
            return self
        faults = {
            f"split.protocol `{self.split.protocol}` needs all interactions at once: use "
            "leave_one_out": self.split.protocol != "leave_one_out",
            "split.train_share below 1 is not drawn there: use 1": self.split.train_share != 1.0,
            f"model.kind `{self.model.kind}` has a row for each user: use two_tower": (
                self.model.kind != "two_tower"
            ),
            "the ranker draws from all interactions: set ranker.train to false": self.ranker.train,
            "towers.time_gaps needs times, which are not streamed along: set it to false": (
                self.towers.time_gaps
            ),
        }
        told = [fault for fault, is_there in faults.items() if is_there]
        if told:
            raise ValueError("data.source `shards` is streamed, but " + "; ".join(told))
        return self

    @model_validator(mode="after")
    def _starts_in_one_place(self) -> RunConfig:
        others = {
            "train.start_from": self.train.start_from,
            "towers.text_start_share": self.towers.text_start_share,
        }
        told = [key for key, value in others.items() if value is not None]
        if self.towers.start == "random" and told:
            raise ValueError(
                f"towers.start `random` leaves no room for {' and '.join(told)}: set them to null, "
                "or towers.start to factorised"
            )
        return self

    @model_validator(mode="after")
    def _prior_that_is_scaled_is_there(self) -> RunConfig:
        without = not self.towers.popularity_prior or self.model.kind != "two_tower"
        if without and self.index.popularity_prior != 1.0:
            raise ValueError(
                "index.popularity_prior scales what two towers have with towers.popularity_prior: "
                "set that to true, or leave index.popularity_prior at 1"
            )
        return self

    @model_validator(mode="after")
    def _what_is_fine_tuned_can_be(self) -> RunConfig:
        mode, encoder = self.encoder.mode, self.encoder
        if mode == "frozen":
            return self
        faults = {
            f"encoder.kind `{encoder.kind}` has no language model: use language_model": (
                encoder.kind != "language_model"
            ),
            "encoder.preset_zh names a second language model: leave it out": (
                encoder.preset_zh is not None
            ),
            "encoder.word_columns are words beside a frozen one: set it to 0 or null": (
                bool(encoder.word_columns)
            ),
            f"encoder.pooling `{encoder.pooling}` is learned from frozen token vectors: use mean, "
            "cls, max, last, sif or layers": encoder.pooling in LEARNED_POOLINGS,
            "model.kind `matrix_factorisation` takes the texts as they are: use two_tower": (
                self.model.kind == "matrix_factorisation"
            ),
            "the ranker reads frozen token vectors: set ranker.train to false": self.ranker.train,
        }
        told = [fault for fault, is_there in faults.items() if is_there]
        if told:
            raise ValueError(
                f"encoder.mode `{mode}` trains the language model with the towers, but "
                + "; ".join(told)
                + "; or set encoder.mode to frozen"
            )
        return self

    @model_validator(mode="after")
    def _factorisation_has_what_it_needs(self) -> RunConfig:
        if self.model.kind == "matrix_factorisation":
            if self.encoder.pooling in LEARNED_POOLINGS:
                raise ValueError(
                    "model.kind `matrix_factorisation` takes one vector a text and cannot learn "
                    f"encoder.pooling `{self.encoder.pooling}`; use mean, cls, max, last, sif or "
                    "layers, or model.kind two_tower"
                )
            defaults = TrainSection.model_fields
            of_towers = [k for k in OF_TWO_TOWERS if getattr(self.train, k) != defaults[k].default]
            if of_towers:
                raise ValueError(
                    "model.kind `matrix_factorisation` has no "
                    + ", ".join(f"train.{key}" for key in of_towers)
                    + "; leave it out, or use model.kind two_tower"
                )
            if self.train.strategy != "none":
                raise ValueError(
                    "model.kind `matrix_factorisation` is trained by one process: its losses are "
                    "means over pairs that no replica can take its share of; set train.strategy "
                    "to none, or use model.kind two_tower"
                )
            if self.towers.time_gaps:
                raise ValueError(
                    "model.kind `matrix_factorisation` takes a history in any order and has no "
                    "towers.time_gaps; leave it out, or use model.kind two_tower"
                )
            if not self.towers.item_ids:
                raise ValueError(
                    "model.kind `matrix_factorisation` factorises ids: set towers.item_ids to "
                    "true, or use model.kind two_tower"
                )
        return self
