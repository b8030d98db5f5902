"""Results of all models as one object: metrics.json, and the lists as a table."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from tfrec_llm.data.catalogue import Catalogue
from tfrec_llm.data.queries import Queries
from tfrec_llm.evaluation.retrieval_evaluator import ModelResult
from tfrec_llm.files import atomic_file

FORMAT = 1
_DECIMALS = 6


def build_metrics(
    results: Sequence[ModelResult],
    *,
    data: Mapping[str, Any],
    protocol: Mapping[str, Any],
    seed: int,
    versions: Mapping[str, str],
    settings: Mapping[str, Mapping[str, Any]] | None = None,
    ranking: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """Returns the object of metrics.json.

    Args:
        results: one for each model, in the order of the report.
        data: `users`, `items`, `interactions` (ints) and `sha256` of the data.
        protocol: how the test set was held out and ranked.
        seed: int, of the run.
        versions: package name → version.
        settings: model name → what was chosen for it on the validation set; stands under the
            model as `settings`.
        ranking: what rankers did on labelled pairs; stands beside the models as `ranking`.

    Returns: dict of plain JSON values; numbers rounded to six decimals, undefined ones None.

    Raises: ValueError when two results have one name.

    Example:
        >>> empty = np.zeros((0, 100), np.int32)
        >>> result = ModelResult("mine", {"all": {"users": 2, "recall@10": 1 / 3}}, empty, empty)
        >>> metrics = build_metrics([result], data={"items": 3}, protocol={}, seed=7, versions={})
        >>> metrics["models"]
        {'mine': {'all': {'users': 2, 'recall@10': 0.333333}}}
    """
    models: dict[str, Any] = {}
    for result in results:
        if result.name in models:
            raise ValueError(f"two models are called {result.name!r}; rename one of them.")
        models[result.name] = _plain(result.slices)
        if settings and settings.get(result.name):
            models[result.name]["settings"] = _plain(settings[result.name])
    metrics = {
        "format": FORMAT,
        "data": _plain(data),
        "protocol": _plain(protocol),
        "seed": int(seed),
        "versions": _plain(versions),
        "models": models,
    }
    return metrics if ranking is None else {**metrics, "ranking": _plain(ranking)}


def write_metrics(path: str | Path, metrics: Mapping[str, Any]) -> None:
    """Writes metrics.json whole or not at all.

    Args:
        path: the file.
        metrics: see `build_metrics`.

    Example:
        >>> import tempfile
        >>> path = Path(tempfile.mkdtemp()) / "metrics.json"
        >>> write_metrics(path, {"format": 1})
        >>> json.loads(path.read_text())
        {'format': 1}
    """
    text = json.dumps(metrics, indent=1, ensure_ascii=False, allow_nan=False)
    with atomic_file(path) as temporary:
        temporary.write_text(text + "\n", encoding="utf-8")


def rankings_frame(
    results: Sequence[ModelResult], queries: Queries, catalogue: Catalogue
) -> pl.DataFrame:
    """Returns every list of every model, from which the metrics can be computed again.

    Args:
        results: of the same queries.
        queries: the n held-out cases, in the order of the results.
        catalogue: the corpus.

    Returns: frame of `model`, `user_id`, `target_item_id` (strings) and `item_ids` (list of
        strings, best first, up to 100), n rows for each model.

    Example:
        >>> ids = ["a", "b"]
        >>> catalogue = Catalogue(pl.DataFrame({"item_id": ids, "title": ids, "text": ids}))
        >>> queries = Queries(["u"], [np.array([])], [""], np.array([1]), np.array([False]))
        >>> result = ModelResult("mine", {}, np.array([[1, 0, -1]]), np.array([0]))
        >>> rankings_frame([result], queries, catalogue).row(0)
        ('mine', 'u', 'b', ['b', 'a'])
    """
    item_ids = pl.Series(catalogue.item_ids, dtype=pl.String)
    users = pl.Series(queries.user_ids, dtype=pl.String)
    targets = item_ids.gather(np.asarray(queries.targets, dtype=np.int64))
    frames = [
        pl.DataFrame(
            {
                "model": pl.Series([result.name], dtype=pl.String).new_from_index(0, len(queries)),
                "user_id": users,
                "target_item_id": targets,
                "item_ids": _lists_of_ids(result.lists, item_ids),
            }
        )
        for result in results
    ]
    schema: dict[str, pl.DataType | type[pl.DataType]] = {
        "model": pl.String,
        "user_id": pl.String,
        "target_item_id": pl.String,
        "item_ids": pl.List(pl.String),
    }
    return pl.concat([pl.DataFrame(schema=schema), *frames])


def _lists_of_ids(lists: np.ndarray, item_ids: pl.Series) -> pl.Series:
    if lists.size == 0:
        return pl.Series([[] for _ in lists], dtype=pl.List(pl.String))
    numbers = pl.Series(lists.ravel().astype(np.int64))
    present = numbers.to_frame("n").select(pl.when(pl.col("n") >= 0).then(pl.col("n")))["n"]
    return item_ids.gather(present).reshape(lists.shape).arr.to_list().list.drop_nulls()


def _plain(value: Any) -> Any:
    """Returns `value` as what JSON knows; NaN and infinity, which it does not know, as None."""
    if isinstance(value, Mapping):
        return {str(key): _plain(part) for key, part in value.items()}
    if isinstance(value, (list, tuple, np.ndarray)):
        return [_plain(part) for part in value]
    if isinstance(value, (bool, np.bool_)):
        return bool(value)
    if isinstance(value, (int, np.integer)):
        return int(value)
    if isinstance(value, (float, np.floating)):
        return round(float(value), _DECIMALS) if math.isfinite(value) else None
    return value if value is None or isinstance(value, str) else str(value)
