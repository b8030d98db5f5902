"""Export → a recommender in Python, with TensorFlow and no Keras."""

from __future__ import annotations

import difflib
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from tfrec_llm.data.categories import read_categories
from tfrec_llm.diversity.diversify import diversify
from tfrec_llm.diversity.knobs import Knobs
from tfrec_llm.diversity.log_popularity import log_popularity
from tfrec_llm.errors import CorruptFileError, ExportError, UsageError
from tfrec_llm.serving.export_files import EMBEDDINGS_FILE, ITEMS_FILE
from tfrec_llm.serving.op_libraries import register_ops
from tfrec_llm.serving.plain_tensorflow import plain_tensorflow
from tfrec_llm.serving.requirements_file import read_requirements, verify_files
from tfrec_llm.serving.versions import version_folder


@dataclass(frozen=True)
class Recommendation:
    """One item of an answer.

    Attributes:
        item_id: str.
        title: str, for a person.
        score: float of the model, higher is better; comparable within one answer.
    """

    item_id: str
    title: str
    score: float


class LoadedRecommender:
    """Answers like a server would; made by `load`.

    Attributes:
        folder: Path of the version that was loaded.
        requires: dict, the contents of its requires.json.
        model: the loaded SavedModel, for requests in batches: `model.signatures["recommend"]`.
    """

    def __init__(
        self,
        folder: Path,
        requires: dict[str, Any],
        model: Any,
        titles: dict[str, str],
        embeddings: np.ndarray,
        popularity: np.ndarray,
    ) -> None:
        self.folder = folder
        self.requires = requires
        self.model = model
        self._titles = titles
        self._embeddings = embeddings
        self._log_popularity = log_popularity(popularity)
        self._rows = {item_id: row for row, item_id in enumerate(titles)}

    def __len__(self) -> int:
        return len(self._titles)

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
        """Recommends items to one user.

        Args:
            text: str, anything about the user or what they look for; may be empty.
            history: ids of items that they took, oldest first; unknown ids are ignored.
            exclude: ids of more items that shall not be recommended.
            k: int >= 1, how many items. At most the `max_k` of the export are returned.
            history_times: when each item of the history was taken, in seconds since 1970, 0 where
                that is not known; for an export of a model with time gaps.
            rerank: bool, whether the ranker orders the candidates anew; scores are its own then.
            diversity: float in [0, 1], how much unlikeness counts against relevance; 0, the
                default, leaves the order of the scores. For this and the next three see
                `diversify`.
            diversity_method: `mmr` or `dpp`.
            popularity_penalty: float >= 0, what the most popular item loses, as a share of the
                whole range of the candidates' scores.
            max_per_category: int >= 1, the most items of one category among the k; None for no
                limit.
            categories: item id → category, or `FILE:COLUMN` of a table of items, which is then
                read at each call. Items without a category are not limited.
            candidates: int >= 1, how many of the best items the four choose from, at least k;
                more are fetched where full categories leave the list short. Defaults to 100.

        Returns: the best items, best first; fewer than k where fewer remain, or where the `max_k`
            of the export holds no more of open categories.

        Raises:
            UsageError: when `k` is below 1, or `history` or `exclude` is one string, or `rerank`
                is asked of an export without a ranker, or times are given that do not fit the
                history or the export, or one of the four is out of range.
            DataError: when the table of the categories or its column is missing.
        """
        knobs = Knobs(diversity, diversity_method, popularity_penalty, max_per_category)
        category_of = self._categories(knobs, categories)
        if candidates < 1:
            raise UsageError(f"`candidates` must be at least 1, got {candidates}.")
        tf = plain_tensorflow()
        signature = "recommend_reranked" if rerank else "recommend"
        if signature not in self.model.signatures:
            raise UsageError(
                f"{self.folder} holds no ranker, so it cannot order its candidates anew. Ask "
                "without rerank, or train with `ranker.train: true` and export that run."
            )
        request = {
            "user_text": tf.constant([_bytes(text)]),
            "history": _row(tf, "history", history),
            "exclude_ids": _row(tf, "exclude", exclude),
        }
        if history_times is not None:
            signature = "recommend_timed"
            request["history_times"] = self._times(tf, history_times, history, rerank)
        _checked(tf, k)

        def best(count: int) -> list[Recommendation]:
            answer = self.model.signatures[signature](**request, k=_checked(tf, count))
            return self._recommendations(answer)

        if not knobs.is_turned:
            return best(k)
        return self._diversified(best, k, max(k, candidates), knobs, category_of)

    def similar(self, item_id: str, k: int = 10) -> list[Recommendation]:
        """Finds the items that are most like an item.

        Args:
            item_id: str.
            k: int >= 1, how many items. At most the `max_k` of the export are returned.

        Raises: UsageError when there is no such item, or `k` is below 1.
        """
        if item_id not in self._titles:
            near = difflib.get_close_matches(item_id, self._titles, n=3, cutoff=0.5)
            hint = f" The nearest ids are {', '.join(map(repr, near))}." if near else ""
            raise UsageError(f"There is no item {item_id!r} in {self.folder}.{hint}")
        tf = plain_tensorflow()
        answer = self.model.signatures["similar_items"](
            item_ids=tf.constant([_bytes(item_id)]), k=_checked(tf, k)
        )
        return self._recommendations(answer)

    def _times(self, tf: Any, times: Sequence[float], history: Sequence[str], rerank: bool) -> Any:
        """Returns int64 `(1, len(history))`, or says what is wrong with the times."""
        if "recommend_timed" not in self.model.signatures:
            raise UsageError(
                f"{self.folder} makes no use of times. Ask without history_times, or train with "
                "`towers.time_gaps: true` and export that run."
            )
        if rerank:
            raise UsageError("The ranker makes no use of times: ask without history_times.")
        if len(times) != len(history):
            raise UsageError(
                f"`history_times` must hold one time for each of the {len(history)} items of the "
                f"history, got {len(times)}. Give 0 where a time is not known."
            )
        if not all(abs(time) < 2**53 for time in times):
            raise UsageError(f"`history_times` must be seconds since 1970, got {list(times)}.")
        return tf.constant([[math.floor(time) for time in times]], tf.int64, [1, len(times)])

    def _diversified(
        self,
        best: Callable[[int], list[Recommendation]],
        k: int,
        width: int,
        knobs: Knobs,
        category_of: Mapping[str, str],
    ) -> list[Recommendation]:
        """Chooses k of the best `width`, of more where full categories leave places empty."""
        while True:
            found = best(width)
            rows = [self._rows[item.item_id] for item in found]
            chosen = diversify(
                np.array([item.score for item in found]),
                self._embeddings[rows],
                self._log_popularity[rows],
                k,
                knobs,
                [category_of.get(item.item_id) for item in found],
            )
            if len(chosen) == k or len(found) < width:
                return [found[row] for row in chosen]
            width *= 2

    def _categories(
        self, knobs: Knobs, categories: Mapping[str, str] | str | None
    ) -> Mapping[str, str]:
        knobs.check_categories(categories is not None)
        if categories is None:
            return {}
        found = read_categories(categories) if isinstance(categories, str) else categories
        if not any(item_id in found for item_id in self._titles):
            raise UsageError(
                f"`categories` names no item of {self.folder}. Its ids must be those of the items "
                "that the model was trained on."
            )
        return found

    def _recommendations(self, answer: dict[str, Any]) -> list[Recommendation]:
        ids = [item_id.decode() for item_id in answer["item_ids"].numpy()[0]]
        scores = answer["scores"].numpy()[0].tolist()
        return [
            Recommendation(item_id, self._titles[item_id], score)
            for item_id, score in zip(ids, scores, strict=True)
            if item_id
        ]


def load(export: str | Path, verify: bool = True) -> LoadedRecommender:
    """Loads an export: its op libraries first, then the newest version.

    Args:
        export: folder of versions, or of one version.
        verify: whether every file is compared with its sha256 first, about a second for each
            gigabyte. Defaults to True.

    Returns: the recommender.

    Raises:
        UsageError: when there is no export.
        CorruptFileError: when a file is not as it was written.
        MissingPackageError: when a library that it needs is not installed.
        ExportError: when it cannot be loaded for another reason.
    """
    folder = version_folder(export)
    requires = read_requirements(folder)
    if verify:
        verify_files(folder, requires)
    tf = plain_tensorflow()
    register_ops(sorted({entry["library"] for entry in requires["custom_ops"]}))
    try:
        model = tf.saved_model.load(str(folder))
        columns = ["item_id", "title", "popularity"]
        items = pl.read_parquet(folder / ITEMS_FILE, columns=columns)
        embeddings = np.load(folder / EMBEDDINGS_FILE, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError, KeyError, tf.errors.OpError, pl.exceptions.PolarsError) as error:
        verify_files(folder, requires)  # the likely reason, and a clear one
        raise ExportError(f"The export {folder} cannot be loaded: {error}") from error
    titles = dict(zip(items["item_id"].to_list(), items["title"].to_list(), strict=True))
    if not set(model.signatures) >= {"recommend", "similar_items"}:
        raise CorruptFileError(f"The export {folder} lacks signatures. Export the model again.")
    popularity = items["popularity"].to_numpy()
    return LoadedRecommender(folder, requires, model, titles, embeddings, popularity)


def _bytes(text: str) -> bytes:
    return text.encode("utf-8", "replace")


def _row(tf: Any, name: str, item_ids: Sequence[str]) -> Any:
    if isinstance(item_ids, str):
        raise UsageError(f"`{name}` must be a list of item ids, got one string {item_ids!r}.")
    ids = [_bytes(item_id) for item_id in item_ids]
    return tf.constant([ids], tf.string, shape=[1, len(ids)])


def _checked(tf: Any, k: int) -> Any:
    if k < 1:
        raise UsageError(f"`k` must be at least 1, got {k}.")
    return tf.constant(min(k, 2**31 - 1), tf.int32)
