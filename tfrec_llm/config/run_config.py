"""A whole run as data: every setting, its meaning, unit and default."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

Share = Annotated[float, Field(ge=0.0, lt=1.0)]


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

    source: Literal["tables", "bookshop", "movielens", "microlens", "goodbooks", "memory"] = Field(
        "tables", description="memory: tables handed over in Python, not read by this run"
    )
    folder: Path | None = Field(None, description="folder of a named reader's files")
    items: Path | None = None
    interactions: Path | None = None
    users: Path | None = None
    columns: ColumnNames = Field(default_factory=ColumnNames)
    min_rating: float | None = Field(None, description="rows below it are not positives")
    ordered: bool = Field(
        True, description="false: rows without a timestamp have no order, use protocol random"
    )
    max_quarantined_share: float = Field(
        0.5, ge=0.0, le=1.0, description="stop when more than this share of a table is rejected"
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


class TextSection(Section):
    """How text is made ready for the language model."""

    clean: Literal["none"] = "none"
    language: Literal["auto", "en", "zh"] = "auto"
    max_tokens: int = Field(64, ge=4, le=512)


class EncoderSection(Section):
    """The language model."""

    preset: str = "all_minilm_l6_v2_en"
    pooling: Literal["mean"] = "mean"
    mode: Literal["frozen"] = "frozen"
    precision: Literal["float32", "mixed_bfloat16"] = "float32"
    batch_size: int = Field(32, ge=1)
    cache_folder: Path | None = Field(
        None, description="null: $TFREC_LLM_CACHE, else ~/.cache/tfrec_llm"
    )


class TowersSection(Section):
    """The shape of the two towers."""

    embedding_dim: int = Field(128, ge=2, le=2048)
    history: Literal["mean", "attention", "gru", "lstm", "transformer"] = "transformer"
    max_history: int = Field(50, ge=1, le=1000)
    item_ids: bool = True
    item_id_dropout: Share = 0.4
    dropout: Share = 0.3
    text_start_share: Annotated[float, Field(ge=0.0, le=1.0)] | None = Field(
        None,
        description="share of the start that comes from likeness of text, not of clicks; null: "
        "chosen on validation",
    )
    num_layers: int = Field(1, ge=1, le=12, description="layers of a transformer history")
    num_heads: int = Field(2, ge=1, le=64)


class TrainSection(Section):
    """The optimisation."""

    batch_size: int = Field(256, ge=2)
    epochs: int = Field(12, ge=0, description="0: the untrained start")
    learning_rate: float = Field(0.004, gt=0.0)
    weight_decay: float = Field(0.05, ge=0.0)
    warmup_share: Share = 0.1
    uniform_negatives: int = Field(2048, ge=0)
    temperature: float = Field(0.1, gt=0.0)
    learn_temperature: bool = True
    text_only_share: Share = Field(
        0.2, description="share of users with text whose history is hidden in a step"
    )
    text_search_weight: float = Field(
        0.2, ge=0.0, description="weight of asking for items by their own text, 0: not done"
    )
    patience: int = Field(4, ge=1, description="epochs without a better validation NDCG@10")
    refit: bool = Field(True, description="train again on training + validation before the test")
    seed: int = Field(7, ge=0)


class EvaluateSection(Section):
    """What is measured."""

    ks: list[Annotated[int, Field(ge=1, le=100)]] = [10, 20, 100]
    max_users: int | None = Field(None, ge=1, description="seeded sample of the test cases")
    bootstrap_samples: int = Field(1000, ge=10)


class IndexSection(Section):
    """The top-k index inside the export. null: chosen by the size of the corpus."""

    kind: Literal["scann", "brute_force"] = "scann"
    max_k: int = Field(100, ge=1, le=10_000)
    num_leaves: int | None = Field(None, ge=1)
    num_leaves_to_search: int | None = Field(None, ge=1)
    num_reordering_candidates: int | None = Field(None, ge=1)
    min_recall: float = Field(0.9, ge=0.0, le=1.0, description="against exact search, or refused")


class RunConfig(Section):
    """One run, from tables to index."""

    data: DataSection
    split: SplitSection = Field(default_factory=SplitSection)
    text: TextSection = Field(default_factory=TextSection)
    encoder: EncoderSection = Field(default_factory=EncoderSection)
    towers: TowersSection = Field(default_factory=TowersSection)
    train: TrainSection = Field(default_factory=TrainSection)
    evaluate: EvaluateSection = Field(default_factory=EvaluateSection)
    index: IndexSection = Field(default_factory=IndexSection)
