"""Three lines to a result: the Python door to the same functions that the commands call."""

from __future__ import annotations

import dataclasses
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tfrec_llm.config.load import config_from
from tfrec_llm.config.run_config import RunConfig
from tfrec_llm.data.schema import Dataset
from tfrec_llm.encoders.text_encoder import TextEncoder
from tfrec_llm.errors import ConfigError, UsageError
from tfrec_llm.files import locked
from tfrec_llm.progress import Progress
from tfrec_llm.serving.loaded import LoadedRecommender, Recommendation
from tfrec_llm.serving.servable import Servable
from tfrec_llm.serving.trained import TrainedModel
from tfrec_llm.workflows.build import Prepared
from tfrec_llm.workflows.evaluate import evaluate_prepared
from tfrec_llm.workflows.export import export_trained
from tfrec_llm.workflows.run_folder import RunFolder
from tfrec_llm.workflows.train import train_dataset


class Recommender:
    """A trained recommender in memory; made by `train`.

    Attributes:
        run: Path of the run folder.
        summary: dict, what the training came to.
        trained: `TrainedModel`, the towers, the encoder and the corpus.
    """

    def __init__(
        self, config: RunConfig, prepared: Prepared, run: RunFolder, summary: dict[str, Any]
    ) -> None:
        self.run = run.path
        self.summary = summary
        self.trained = TrainedModel.load(run.model)
        self._config = config
        self._prepared = prepared
        self._folder = run
        self._asked: LoadedRecommender | None = None

    def recommend(
        self,
        text: str = "",
        history: Sequence[str] = (),
        exclude: Sequence[str] = (),
        k: int = 10,
        *,
        history_times: Sequence[float] | None = None,
        rerank: bool = False,
        diversity: float = 0.0,
        diversity_method: str = "mmr",
        popularity_penalty: float = 0.0,
        max_per_category: int | None = None,
        categories: Mapping[str, str] | str | None = None,
        candidates: int = 100,
    ) -> list[Recommendation]:
        """Recommends items to one user, searched exactly.

        Args:
            text: str, anything about the user or what they look for; may be empty.
            history: ids of items that they took, oldest first; unknown ids are ignored.
            exclude: ids of more items that shall not be recommended.
            k: int ≥ 1, how many items.
            history_times: when each item of the history was taken, in seconds since 1970, 0 where
                that is not known; of a run with `towers.time_gaps`.
            rerank: bool, whether the ranker orders the candidates anew.
            diversity: float in [0, 1], how much unlikeness counts; this and what follows is told
                in `LoadedRecommender.recommend`.
            diversity_method: `mmr` or `dpp`.
            popularity_penalty: float ≥ 0.
            max_per_category: int ≥ 1, together with `categories`.
            categories: item id → category, or `FILE:COLUMN` of a table of items.
            candidates: int ≥ 1, how many items these choose from.

        Returns: `Recommendation`s (`item_id`, `title`, `score`), best first.

        Raises:
            UsageError: when `k` is below 1, `rerank` is asked of a run without a ranker, times
                of one without time gaps, or another value is out of range.
            DataError: when the table of the categories or its column is missing.
        """
        return self._served().recommend(
            text=text,
            history=history,
            exclude=exclude,
            k=k,
            history_times=history_times,
            rerank=rerank,
            diversity=diversity,
            diversity_method=diversity_method,
            popularity_penalty=popularity_penalty,
            max_per_category=max_per_category,
            categories=categories,
            candidates=candidates,
        )

    def similar(self, item_id: str, k: int = 10) -> list[Recommendation]:
        """Finds the items that are most like an item.

        Raises: UsageError when there is no such item, or `k` is below 1.
        """
        return self._served().similar(item_id, k=k)

    def evaluate(
        self, *, baselines: bool = False, sasrec: bool = False, progress: Progress | None = None
    ) -> dict[str, Any]:
        """Measures the recommender on its test set; see `tfrec_llm.workflows.evaluate`.

        Returns: the contents of metrics.json.
        """
        return evaluate_prepared(
            self._config,
            self._prepared,
            self.trained,
            self._folder,
            baselines=baselines,
            sasrec=sasrec,
            progress=progress,
        )

    def export(
        self,
        out: str | Path,
        *,
        index: str | None = None,
        max_k: int | None = None,
        progress: Progress | None = None,
    ) -> dict[str, Any]:
        """Writes the next version of a SavedModel; see `tfrec_llm.workflows.export`."""
        changes = {k: v for k, v in {"kind": index, "max_k": max_k}.items() if v is not None}
        settings = self._config.index.model_copy(update=changes)
        return export_trained(self.trained, out, settings, self.summary, progress=progress)

    def _served(self) -> LoadedRecommender:
        if self._asked is None:
            servable = self.trained.servable(index="brute_force", max_k=self._config.index.max_k)
            catalogue = self.trained.catalogue
            titles = dict(zip(catalogue.item_ids, catalogue.titles, strict=True))
            self._asked = LoadedRecommender(
                self.run,
                {},
                _Served(servable),
                titles,
                self.trained.item_embeddings,
                self.trained.popularity,
            )
        return self._asked


@dataclasses.dataclass(frozen=True)
class _Served:
    """A servable under the attribute that a loaded SavedModel has its signatures in."""

    servable: Servable

    @property
    def signatures(self) -> dict[str, Any]:
        return self.servable.signatures()


def train(
    data: Dataset,
    encoder: str | TextEncoder = "all_minilm_l6_v2_en",
    *,
    out: str | Path | None = None,
    config: Mapping[str, Any] | None = None,
    resume: bool = False,
    progress: Progress | None = None,
) -> Recommender:
    """Trains a recommender on tables in memory.

    Args:
        data: what `tfrec_llm.read_tables` returned.
        encoder: a keras-nlp preset, a local folder, or a `TextEncoder`, whose own settings then
            stand for those of the sections `text` and `encoder`.
        out: the run folder, new or empty; None for a temporary one.
        config: sections of the configuration, such as `{"train": {"epochs": 3}}`.
        resume: bool, go on with a training in `out` that was stopped.
        progress: listener.

    Returns: `Recommender`.

    Raises:
        ConfigError: when `config` has a fault.
        UsageError: when `out` is not empty, or several workers are asked for.
        DataError: when the data is too small to hold anything out.
    """
    settings = _settings(config or {}, encoder)
    if settings.train.strategy == "multi_worker":
        raise UsageError(
            "train.strategy `multi_worker` needs a process of its own on every machine: write the "
            "tables to files and start `tfrec-llm train` on each, or use mirrored for the GPUs of "
            "this machine."
        )
    run = RunFolder.open_for_training(
        tempfile.mkdtemp(prefix="tfrec_llm_") if out is None else out, resume=resume
    )
    with locked(run.path / ".lock"):
        prepared, summary = train_dataset(
            settings,
            data,
            run,
            language_model=encoder if isinstance(encoder, TextEncoder) else None,
            resume=resume,
            progress=progress,
        )
    return Recommender(settings, prepared, run, summary)


def _settings(config: Mapping[str, Any], encoder: str | TextEncoder) -> RunConfig:
    sections: dict[str, Any] = {**config, "data": {"source": "memory"}}
    if "data" in config:
        raise ConfigError(
            "config: data: the tables are handed over, so there is nothing to read. Give the "
            "columns and options of the data to tfrec_llm.read_tables."
        )
    if isinstance(encoder, TextEncoder):
        chosen: dict[str, dict[str, Any]] = {
            "text": {"max_tokens": encoder.max_tokens, "clean": encoder.clean},
            "encoder": {
                "preset": encoder.preset.name,
                "pooling": encoder.pooling,
                "precision": encoder.precision,
            },
        }
    else:
        chosen = {"encoder": {"preset": str(encoder)}}
    for name, keys in chosen.items():
        section = sections.get(name) or {}
        if isinstance(section, Mapping):  # else a fault that is told below
            sections[name] = {**section, **keys}
    return config_from(sections)
