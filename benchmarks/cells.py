"""Cells of a benchmark: each one a run, trained and measured once, kept as one JSON file.

A benchmark that was killed goes on with the cells that are missing; the one that was in work is
resumed from its last epoch. A cell that fails is told at the end and tried again the next time.
"""

from __future__ import annotations

import gc
import hashlib
import json
import multiprocessing
import resource
import shutil
import sys
import time
import traceback
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from tfrec_llm.baselines.tuning import BASELINES, SLOW_BASELINES, tune_and_refit
from tfrec_llm.config.load import load_config
from tfrec_llm.config.run_config import RunConfig
from tfrec_llm.data.catalogue import Catalogue
from tfrec_llm.data.queries import Queries
from tfrec_llm.data.schema import Dataset
from tfrec_llm.data.splits import Split
from tfrec_llm.errors import TfrecLlmError, UsageError
from tfrec_llm.evaluation.bootstrap import bootstrap_intervals
from tfrec_llm.evaluation.ndcg import ndcg_at_k
from tfrec_llm.evaluation.recall import recall_at_k
from tfrec_llm.evaluation.retrieval_evaluator import ModelResult, evaluate_model
from tfrec_llm.evaluation.slices import query_slices
from tfrec_llm.evaluation.top_k import tie_order
from tfrec_llm.files import atomic_file
from tfrec_llm.progress import Progress

CONFIGS = Path(__file__).parent / "configs"
TRAINED = "trained"  # the model that a run trains, whatever it is called in the report
EVERY_BASELINE = "every_baseline"
METRICS = {
    f"{name}@{k}": (function, k)
    for k in (10, 100)
    for name, function in (("ndcg", ndcg_at_k), ("recall", recall_at_k))
}


@dataclass(frozen=True)
class Cell:
    """One thing to measure.

    Attributes:
        name: str, unique in a benchmark; also the name of its file.
        config: name of a file in `configs/`, without `.yaml`, or a path.
        overrides: `section.key=value` texts, over the file.
        model: `TRAINED`, the name of a baseline (then no run is trained), `EVERY_BASELINE` for all
            of them in one cell, or the name of another model in the report of the run.
    """

    name: str
    config: str
    overrides: tuple[str, ...]
    model: str = TRAINED

    def load(self) -> RunConfig:
        """Returns the checked configuration."""
        path = Path(self.config)
        return load_config(
            path if path.suffix else CONFIGS / f"{self.config}.yaml", list(self.overrides)
        )


def run_cells(
    cells: Sequence[Cell],
    out: Path,
    *,
    progress: Progress | None = None,
    keep_runs: bool = False,
    apart: bool = False,
    say: Callable[[str], None] = lambda text: print(text, file=sys.stderr, flush=True),
) -> dict[str, str]:
    """Measures what is not measured yet.

    Args:
        cells: what to measure.
        out: folder of the results, `NAME.json` each; made if missing.
        progress: listener of each run.
        keep_runs: whether run folders stay; each holds a copy of its language model.
        apart: whether each cell is measured in a process of its own, so that its peak memory is
            its own too; then nobody listens to the run.
        say: told of each cell.

    Returns: name → error of each cell that failed; it did not stop the others.
    """
    failed: dict[str, str] = {}
    for number, cell in enumerate(cells, start=1):
        where = f"[{number}/{len(cells)}] {cell.name}"
        try:
            if read_cell(cell, out) is not None:
                continue
            say(f"{where} …")
            begin = time.monotonic()
            result = _measure_apart(cell, out) if apart else _measure(cell, out, progress)
            result["seconds"] = round(time.monotonic() - begin, 1)
            with atomic_file(out / f"{cell.name}.json") as temporary:
                temporary.write_text(json.dumps(result) + "\n", encoding="utf-8")
            if not keep_runs:
                shutil.rmtree(out / "runs" / cell.name, ignore_errors=True)
            figure = result["metrics"]["all"].get("ndcg@10", float("nan"))
            say(f"{where}: NDCG@10 {figure:.4f}, {result['seconds']} s")
        except Exception as error:  # one cell must not stop the others; it is told at the end
            failed[cell.name] = f"{type(error).__name__}: {error}"
            detail = "" if isinstance(error, TfrecLlmError) else "\n" + traceback.format_exc()
            say(f"{where} FAILED: {failed[cell.name]}{detail}")
    return failed


def read_cell(cell: Cell, out: Path) -> dict[str, Any] | None:
    """Returns the result of a cell, None where there is none yet.

    Raises: UsageError when it was measured with other settings.
    """
    path = out / f"{cell.name}.json"
    if not path.is_file():
        return None
    result: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    as_measured = (_settings(result["overrides"]), result["model"])
    if as_measured != (_settings(cell.overrides), cell.model):
        raise UsageError(
            f"{path} was measured with other settings ({' '.join(result['overrides'])}; now "
            f"{' '.join(cell.overrides)}). Delete it, or give another --out folder."
        )
    return result


def _settings(overrides: Sequence[str]) -> dict[str, str]:
    """Returns key → value as they count: in whatever order keys come, the last value of each."""
    return dict(override.split("=", 1) for override in overrides)


def chosen(cells: Sequence[Cell], patterns: Sequence[str]) -> list[Cell]:
    """Returns the cells whose name matches one of the patterns (`*`, `?`), or holds one as it is.

    Raises: UsageError for a pattern that no cell matches.
    """
    if not patterns:
        return list(cells)
    for pattern in patterns:
        if not any(_matches(cell, pattern) for cell in cells):
            raise UsageError(f"--only {pattern}: no cell has such a name; --list shows them all")
    return [cell for cell in cells if any(_matches(cell, pattern) for pattern in patterns)]


def _matches(cell: Cell, pattern: str) -> bool:
    return fnmatchcase(cell.name, pattern) or pattern in cell.name


# Measuring


def _measure(cell: Cell, out: Path, progress: Progress | None) -> dict[str, Any]:
    from tfrec_llm.keras_api import keras

    keras.backend.clear_session()
    gc.collect()
    config = cell.load()
    is_baseline = cell.model in (*BASELINES, *SLOW_BASELINES, EVERY_BASELINE)
    measured = (_measure_baselines if is_baseline else _measure_run)(cell, config, out, progress)
    return {
        "name": cell.name,
        "config": cell.config,
        "overrides": list(cell.overrides),
        "model": cell.model,
        "seed": config.train.seed,
        # Kilobytes on Linux; of this process from its beginning.
        "peak_memory_bytes": 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss,
        **measured,
    }


def _measure_apart(cell: Cell, out: Path) -> dict[str, Any]:
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(max_workers=1, mp_context=context) as pool:
        return pool.submit(_measure, cell, out, None).result()


@dataclass(frozen=True)
class _TestCases:
    dataset: Dataset
    catalogue: Catalogue
    parts: Split
    queries: Queries
    counts: np.ndarray  # interactions of each item in training + validation

    @property
    def slices(self) -> dict[str, list[int]]:
        """Returns which rows of `queries` belong to a slice."""
        masks = query_slices(self.queries, self.counts, tie_order(self.catalogue.item_ids))
        return {name: np.flatnonzero(mask).tolist() for name, mask in masks.items()}


def _test_cases(config: RunConfig) -> _TestCases:
    """Returns what a run with this configuration is measured on."""
    from tfrec_llm.workflows.build import measured_queries, read_dataset, split_dataset

    dataset = read_dataset(config.data)
    catalogue = Catalogue(dataset.items)
    parts = split_dataset(config, dataset, catalogue)
    queries = measured_queries(config, parts)
    fitted_on = parts.train_and_validation["item_number"].to_numpy()
    counts = np.bincount(fitted_on, minlength=len(catalogue))
    return _TestCases(dataset, catalogue, parts, queries, counts)


def _measure_run(
    cell: Cell, config: RunConfig, out: Path, progress: Progress | None
) -> dict[str, Any]:
    """Trains, evaluates, and reads the places of the targets from the lists that were written."""
    from tfrec_llm.workflows.evaluate import evaluate
    from tfrec_llm.workflows.train import train

    run = out / "runs" / cell.name
    begun = (run / "config.yaml").is_file()
    if not begun:
        shutil.rmtree(run, ignore_errors=True)
    training = train(config, run, resume=begun, progress=progress)
    metrics = evaluate(run, progress=progress)
    models = list(metrics["models"])
    name = models[0] if cell.model == TRAINED else cell.model
    if name not in models:
        raise UsageError(f"the run measured {', '.join(models)}, and no model called {name}")
    lists = pl.read_parquet(run / "rankings.parquet").filter(pl.col("model") == name)
    places = [
        ids.index(target) if target in ids else -1
        for target, ids in lists.select("target_item_id", "item_ids").iter_rows()
    ]
    kept = ("encoder", "start", "best_epoch", "training_seconds", "total_seconds")
    cases = _test_cases(config)
    if lists["user_id"].to_list() != cases.queries.user_ids:
        raise UsageError(f"{run} was measured on other test cases than its configuration gives")
    return {
        "measured": name,
        "data": metrics["data"],
        "protocol": metrics["protocol"],
        "versions": metrics["versions"],
        "training": {key: training[key] for key in kept if key in training},
        "metrics": _figures(metrics["models"][name]),
        "slices": cases.slices,
        **_cases(lists["user_id"].to_list(), lists["target_item_id"].to_list(), places),
    }


def _measure_baselines(
    cell: Cell, config: RunConfig, out: Path, progress: Progress | None
) -> dict[str, Any]:
    """Tunes, refits and measures baselines on the cases that a run would be measured on."""
    from tfrec_llm.workflows.build import prepare
    from tfrec_llm.workflows.versions import package_versions

    cases = _test_cases(config)
    has_vectors = config.encoder.kind not in ("word_embedding", "none")
    names = [cell.model]
    if cell.model == EVERY_BASELINE:
        every = (*BASELINES, *SLOW_BASELINES)
        names = [name for name in every if has_vectors or name != "zero_shot"]
    vectors: dict[str, Any] = {}
    if "zero_shot" in names:
        prepared = prepare(config, cases.dataset, None, progress)
        texts = prepared.text_features
        vectors = {
            "item_features": prepared.item_features,
            "text_vectors": lambda asked: np.stack([texts[text] for text in asked]),
        }
    models = {name: _measure_baseline(name, config, cases, vectors, progress) for name in names}
    best = max(models.values(), key=lambda model: model["metrics"]["all"].get("ndcg@10", 0.0))
    every_one = {"models": models} if cell.model == EVERY_BASELINE else {}
    return {
        "data": {
            "name": cases.dataset.name,
            "users": cases.dataset.interactions["user_id"].n_unique(),
            "items": len(cases.catalogue),
            "interactions": len(cases.dataset.interactions),
            "sha256": cases.dataset.sha256,
        },
        "protocol": {"split": config.split.protocol, "test_queries": len(cases.queries)},
        "versions": package_versions(),
        "slices": cases.slices,
        **best,
        **every_one,
    }


def _measure_baseline(
    name: str,
    config: RunConfig,
    cases: _TestCases,
    vectors: dict[str, Any],
    progress: Progress | None,
) -> dict[str, Any]:
    from tfrec_llm.workflows.evaluate import READS_USER_TEXT

    begin = time.monotonic()
    seed, queries, catalogue = config.train.seed, cases.queries, cases.catalogue
    tuned = tune_and_refit(
        cases.parts.train,
        cases.parts.train_and_validation,
        cases.parts.validation,
        catalogue,
        names=[name],
        seed=seed,
        progress=progress,
        **(vectors if name == "zero_shot" else {}),
    )[0]
    training_seconds = time.monotonic() - begin

    def measured_on(asked: Queries) -> ModelResult:
        return evaluate_model(
            tuned.model,
            asked,
            catalogue,
            cases.counts,
            ks=config.evaluate.ks,
            bootstrap_samples=config.evaluate.bootstrap_samples,
            seed=seed,
            progress=progress,
        )

    result = measured_on(queries)
    if len(cases.parts.text_only) and name in READS_USER_TEXT:
        result.slices["cold_users_text_only"] = measured_on(cases.parts.text_only).slices["all"]
    return {
        "measured": name,
        "training": {
            "settings": {k: _plain(v) for k, v in tuned.settings.items()},
            "training_seconds": round(training_seconds, 1),
        },
        "metrics": _figures(result.slices),
        "seconds": round(time.monotonic() - begin, 1),
        **_cases(queries.user_ids, catalogue.ids(queries.targets), result.ranks.tolist()),
    }


def _figures(slices: dict[str, Any]) -> dict[str, Any]:
    return {k: v for k, v in slices.items() if k != "settings" and v.get("queries")}


def _cases(user_ids: list[str], targets: list[str], places: list[int]) -> dict[str, Any]:
    text = "\n".join(f"{user}\t{target}" for user, target in zip(user_ids, targets, strict=True))
    digest = hashlib.sha256(text.encode()).hexdigest()
    return {"cases_sha256": digest, "user_ids": user_ids, "places": places}


def _plain(value: Any) -> Any:
    return value.item() if isinstance(value, np.generic) else value


# Figures from stored places, -1 where the target is not among the first hundred.


def in_slice(result: dict[str, Any], name: str) -> dict[str, Any]:
    """Returns a result whose test cases are those of one slice."""
    rows = result["slices"][name]
    kept = {key: [result[key][row] for row in rows] for key in ("user_ids", "places")}
    return {**result, **kept}


def values_of(result: dict[str, Any], metric: str) -> np.ndarray:
    """Returns the metric of each test case, float64 `(n,)`."""
    function, k = METRICS[metric]
    return np.asarray(function(np.asarray(result["places"]), k), dtype=np.float64)


def mean_with_interval(
    results: Sequence[dict[str, Any]], metric: str, *, samples: int = 1000
) -> tuple[float, float, float]:
    """Returns mean and 95 % interval over users; results are of the same cell by several seeds."""
    values = np.concatenate([values_of(result, metric) for result in results])
    return _interval(values, [u for result in results for u in result["user_ids"]], samples)


def difference_with_interval(
    results: Sequence[dict[str, Any]],
    others: Sequence[dict[str, Any]],
    metric: str,
    *,
    samples: int = 1000,
) -> tuple[float, float, float]:
    """Returns mean and 95 % interval of the paired difference `results` - `others`, seed by seed.

    Raises: UsageError when two results were not measured on the same test cases.
    """
    for ours, theirs in zip(results, others, strict=True):
        if ours["cases_sha256"] != theirs["cases_sha256"]:
            raise UsageError(
                f"{ours['name']} and {theirs['name']} were measured on different test cases, so "
                "they cannot be compared pair by pair. Measure both on the same data and seed."
            )
    values = np.concatenate(
        [
            values_of(ours, metric) - values_of(theirs, metric)
            for ours, theirs in zip(results, others, strict=True)
        ]
    )
    return _interval(values, [u for result in results for u in result["user_ids"]], samples)


def _interval(
    values: np.ndarray, user_ids: Sequence[str], samples: int
) -> tuple[float, float, float]:
    low, high = bootstrap_intervals(values[:, None], user_ids, samples=samples)[0]
    return float(values.mean()), float(low), float(high)


def figure(value: float, low: float, high: float, *, signed: bool = False) -> str:
    """Returns `.1234 (.1100–.1370)`; with signs for a difference."""
    form = "+.4f" if signed else ".4f"
    return f"{value:{form}} ({low:{form}} … {high:{form}})".replace("0.", ".")


def about(results: Sequence[dict[str, Any]]) -> str:
    """Returns one line on the data, seeds and cases that results of one data set come from."""
    data, protocol = results[0]["data"], results[0]["protocol"]
    digests = {result["data"]["sha256"] for result in results}
    if len(digests) != 1:
        raise UsageError(
            f"results on {data['name']} come from different tables (sha256 "
            f"{', '.join(sorted(d[:16] for d in digests))}); measure all of them on the same"
        )
    seeds = sorted({result["seed"] for result in results})
    return (
        f"**{data['name']}**, {protocol['split']}: {data['users']} users, {data['items']} items, "
        f"{data['interactions']} interactions, sha256 of the tables `{data['sha256'][:16]}…`, "
        f"seed {', '.join(map(str, seeds))}, {protocol['test_queries']} test cases"
    )


def exit_with(failed: dict[str, str]) -> int:
    """Tells what failed, at the end where it is seen; returns the exit code."""
    for name, error in failed.items():
        print(f"FAILED {name}: {error}", file=sys.stderr)
    return int(bool(failed))
