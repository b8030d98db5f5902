"""Cells of a benchmark: each one a run, trained and measured once, kept as one JSON file.

A benchmark that was killed goes on with the cells that are missing; the one that was in work is
resumed from its last epoch. A cell that fails is told at the end and tried again the next time.
"""

from __future__ import annotations

import gc
import hashlib
import json
import shutil
import sys
import time
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from tfrec_llm.baselines.tuning import BASELINES, tune_and_refit
from tfrec_llm.config.load import load_config
from tfrec_llm.config.run_config import RunConfig
from tfrec_llm.data.catalogue import Catalogue
from tfrec_llm.data.splits import split
from tfrec_llm.errors import TfrecLlmError, UsageError
from tfrec_llm.evaluation.bootstrap import bootstrap_intervals
from tfrec_llm.evaluation.ndcg import ndcg_at_k
from tfrec_llm.evaluation.recall import recall_at_k
from tfrec_llm.evaluation.retrieval_evaluator import ModelResult, evaluate_model
from tfrec_llm.files import atomic_file
from tfrec_llm.progress import Progress
from tfrec_llm.seeds import child_generator

CONFIGS = Path(__file__).parent / "configs"
TRAINED = "trained"  # the model that a run trains, whatever it is called in the report
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
        model: `TRAINED`, the name of a baseline (then nothing is trained), or the name of another
            model in the report of the run.
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
    say: Callable[[str], None] = lambda text: print(text, file=sys.stderr, flush=True),
) -> dict[str, str]:
    """Measures what is not measured yet.

    Args:
        cells: what to measure.
        out: folder of the results, `NAME.json` each; made if missing.
        progress: listener of each run.
        keep_runs: whether run folders stay; each holds a copy of its language model.
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
            result = _measure(cell, out, progress)
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
    if (result["overrides"], result["model"]) != (list(cell.overrides), cell.model):
        raise UsageError(
            f"{path} was measured with other settings ({' '.join(result['overrides'])}; now "
            f"{' '.join(cell.overrides)}). Delete it, or give another --out folder."
        )
    return result


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
    measure = _measure_baseline if cell.model in BASELINES else _measure_run
    return {
        "name": cell.name,
        "config": cell.config,
        "overrides": list(cell.overrides),
        "model": cell.model,
        "seed": config.train.seed,
        **measure(cell, config, out, progress),
    }


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
    return {
        "measured": name,
        "data": metrics["data"],
        "protocol": metrics["protocol"],
        "versions": metrics["versions"],
        "training": {key: training[key] for key in kept if key in training},
        "metrics": _figures(metrics["models"][name]),
        **_cases(lists["user_id"].to_list(), lists["target_item_id"].to_list(), places),
    }


def _measure_baseline(
    cell: Cell, config: RunConfig, out: Path, progress: Progress | None
) -> dict[str, Any]:
    """Tunes, refits and measures one baseline on the cases that a run would be measured on."""
    from tfrec_llm.workflows.build import prepare, read_dataset
    from tfrec_llm.workflows.versions import package_versions

    dataset = read_dataset(config.data)
    catalogue = Catalogue(dataset.items)
    seed, extra = config.train.seed, {}
    if cell.model == "zero_shot":
        prepared = prepare(config, dataset, None, progress)
        texts = prepared.text_features
        extra = {
            "item_features": prepared.item_features,
            "text_vectors": lambda asked: np.stack([texts[text] for text in asked]),
        }
    parts = split(
        dataset,
        catalogue,
        protocol=config.split.protocol,
        cold_user_share=config.split.cold_user_share,
        cold_item_share=config.split.cold_item_share,
        test_share=config.split.test_share,
        train_share=config.split.train_share,
        seed=seed,
    )
    tuned = tune_and_refit(
        parts.train,
        parts.train_and_validation,
        parts.validation,
        catalogue,
        names=[cell.model],
        seed=seed,
        progress=progress,
        **extra,
    )[0]
    queries, most = parts.test, config.evaluate.max_users
    if most is not None and len(queries) > most:  # the same sample as workflows/evaluate.py draws
        rows = child_generator(seed, "test sample").choice(len(queries), most, replace=False)
        queries = queries.take(np.sort(rows))
    fitted_on = parts.train_and_validation["item_number"].to_numpy()
    result: ModelResult = evaluate_model(
        tuned.model,
        queries,
        catalogue,
        np.bincount(fitted_on, minlength=len(catalogue)),
        ks=config.evaluate.ks,
        bootstrap_samples=config.evaluate.bootstrap_samples,
        seed=seed,
        progress=progress,
    )
    return {
        "measured": cell.model,
        "data": {
            "name": dataset.name,
            "users": dataset.interactions["user_id"].n_unique(),
            "items": len(catalogue),
            "interactions": len(dataset.interactions),
            "sha256": dataset.sha256,
        },
        "protocol": {"split": config.split.protocol, "test_queries": len(queries)},
        "versions": package_versions(),
        "training": {"settings": {k: _plain(v) for k, v in tuned.settings.items()}},
        "metrics": _figures(result.slices),
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
