"""How good the recommendations are: ours with and without text or ids, beside every baseline.

    python benchmarks/bench_quality.py --list
    python benchmarks/bench_quality.py [--seeds 7] [--only 'movielens.*'] [--out tables.md]
    python benchmarks/bench_quality.py --quick       # the bundled bookshop, to check the script
    python benchmarks/bench_quality.py --report --cells benchmarks/results/quality --seeds 7

Each cell is a model, or the fast baselines together, on one data set, protocol and seed, measured
in a process of its own. Finished cells stay in --cells, so that a killed benchmark goes on; those
behind the tables in README.md are kept in results/, and the last line prints them again. A cell
that fails does not stop the others; all that failed stand at the end, and the exit code is 1.
"""

from __future__ import annotations

import argparse
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from cell import APART, EVERY_BASELINE, TRAINED, Cell, read_config
from cell_figures import about, difference_with_interval, figure, in_slice, mean_with_interval
from cells import chosen, exit_with, read_cell, run_cells
from plots import interval_plot

from tfrec_llm.errors import UsageError
from tfrec_llm.files import atomic_file

PLOTS = Path(__file__).parent / "plots"
RESULTS = Path(__file__).parent / "results" / "quality"  # of what README.md shows
DATA = ("movielens", "microlens", "goodbooks")
QUICK_DATA = ("bookshop",)
SEEDS = (7, 8, 9)

# Name → what it changes. All else is as in `configs/`.
OURS: dict[str, dict[str, Any]] = {
    "two_tower": {},
    # A transformer on ids: same loss and user tower, but item vectors that start anywhere and know
    # no text, and nothing beside them.
    "two_tower_ids_random_start": {
        "encoder.kind": "none",
        "towers.start": "random",
        "towers.text_start_share": "null",
        "towers.neighbours": 0,
        "towers.popularity_prior": "false",
        "train.text_search_weight": 0.0,
    },
    # Neighbours by clicks would bring the ids back in, and so would a prior of each item.
    "two_tower_text_only": {
        "towers.item_ids": "false",
        "towers.neighbours": 0,
        "towers.popularity_prior": "false",
    },
}
MODELS = (*OURS, EVERY_BASELINE, *APART)
# A start that knows nothing needs more passes, and its first ones may bring nothing: all are run,
# and the best one on validation is kept.
PASSES_OF_RANDOM_START = 2
SETTINGS_OF_PROTOCOL: dict[str, dict[str, Any]] = {
    # New items are found by what their text means, which clicks alone would let drift.
    "cold_items": {"train.text_search_weight": 0.2},
}
SLICES = {
    "all": "all",
    "tail_items": "tail items",
    "cold_items": "cold items",
    "cold_users": "cold users",
}
METRICS = ("ndcg@10", "recall@10", "recall@100")
# Targets without clicks seldom come among the first ten of the whole corpus.
METRIC_OF_SLICE = {"cold_items": "recall@100"}

# Users asked for by their text, and new items ranked among new items: slice, title, suffix.
STORED_TABLES = (
    ("cold_users_text_only", "cold users, text only"),
    ("cold_items", "cold items among themselves", "_among_cold"),
)

Results = dict[str, list[dict[str, Any]]]  # model → its results, one a seed


def protocols_of(source: str) -> tuple[str, ...]:
    """Returns the protocols of a data set: that of its configuration, and cold items."""
    return (read_config(source).split.protocol, "cold_items")


def make_cells(
    data: Sequence[str], seeds: Sequence[int], overrides: Sequence[str] = ()
) -> dict[tuple[str, str, str, int], Cell]:
    """Returns (data, protocol, model, seed) → cell, the first seed of everything first."""
    made: dict[tuple[str, str, str, int], Cell] = {}
    for seed in seeds:
        for source in data:
            config, stem = read_config(source), Path(source).stem
            for protocol in protocols_of(source):
                for model in MODELS:
                    changes = SETTINGS_OF_PROTOCOL.get(protocol, {}) | OURS.get(model, {})
                    if changes.get("towers.start") == "random":
                        passes = PASSES_OF_RANDOM_START * config.train.epochs
                        changes |= {"train.epochs": passes, "train.patience": passes}
                    made[source, protocol, model, seed] = Cell(
                        f"{stem}.{protocol}.{model}.seed-{seed}",
                        source,
                        (
                            f"split.protocol={protocol}",
                            *(f"{key}={value}" for key, value in changes.items()),
                            f"train.seed={seed}",
                            *overrides,
                        ),
                        TRAINED if model in OURS else model,
                    )
    return made


def by_model(found: dict[str, list[dict[str, Any]]]) -> Results:
    """Takes the cells of all baselines apart, so that each model has its own results."""
    results: Results = {}
    for model, cells in found.items():
        for cell in cells:
            for name, part in cell.get("models", {model: {}}).items():
                results.setdefault(name, []).append({**cell, **part})
    return results


def quality_table(results: Results, baselines: Sequence[str], name: str) -> str:
    """Returns one slice as Markdown, the mean over the seeds of each model.

    Differences are paired, case by case, to the baseline that is best on this very slice of the
    test, by the seeds that both have: ours are compared with what is hardest to beat.

    Args:
        results: model → results.
        baselines: names of the models that are baselines.
        name: of the slice, a key of `SLICES`.

    Returns: "" where no test case is in the slice.
    """
    sliced = {
        model: [in_slice(result, name) for result in found if result["slices"][name]]
        for model, found in results.items()
    }
    sliced = {model: found for model, found in sliced.items() if found}
    if not sliced:
        return ""
    metric = METRIC_OF_SLICE.get(name, METRICS[0])
    means = {
        model: {m: mean_with_interval(found, m) for m in METRICS} for model, found in sliced.items()
    }
    there = [baseline for baseline in baselines if baseline in sliced]
    best = max(there, key=lambda baseline: means[baseline][metric][0], default=None)
    most = max(sliced.values(), key=len)  # a model may lack a seed, the cases of one are the same
    num_cases = sum(len(result["places"]) for result in most)
    head = f"| {SLICES[name]} ({num_cases}) | {' | '.join(METRICS)} |"
    head += f" {metric} − {best} |" if best else ""
    lines = [head, "|---" * (head.count("|") - 1) + "|"]
    for model, found in sliced.items():
        shown = [figure(*means[model][m]) for m in METRICS]
        if best:
            shown.append("" if model == best else _difference(found, sliced[best], metric))
        lines.append(f"| {model} | " + " | ".join(shown) + " |")
    return "\n".join(lines)


def _difference(ours: list[dict[str, Any]], theirs: list[dict[str, Any]], metric: str) -> str:
    by_seed = {result["seed"]: result for result in theirs}
    both = [result for result in ours if result["seed"] in by_seed]
    if not both:
        return "–"
    others = [by_seed[result["seed"]] for result in both]
    return figure(*difference_with_interval(both, others, metric), signed=True)


def stored_table(results: Results, of: str, title: str, suffix: str = "") -> str:
    """Returns figures that the cells hold as they were measured; "" where there are none.

    Means over the seeds by their number of cases, and in brackets those of the intervals of each.

    Args:
        results: model → results.
        of: key of the slice in the metrics of a result.
        title: of the table.
        suffix: of the names of the metrics in that slice.
    """
    rows = {
        model: [result["metrics"][of] for result in found if of in result["metrics"]]
        for model, found in results.items()
    }
    first, keys = METRICS[0] + suffix, [metric + suffix for metric in METRICS]
    rows = {model: found for model, found in rows.items() if any(first in row for row in found)}
    if not rows:
        return ""
    num_cases = max(sum(row["queries"] for row in found) for found in rows.values())
    lines = [
        f"| {title} ({num_cases}) | {' | '.join(METRICS)} |",
        "|---" * (len(METRICS) + 1) + "|",
    ]
    for model, found in rows.items():
        weights = [row["queries"] for row in found]
        shown = [
            figure(*np.average([[row[k], *row[f"{k}_ci95"]] for row in found], 0, weights))
            for k in keys
        ]
        lines.append(f"| {model} | {' | '.join(shown)} |")
    return "\n".join(lines)


def cost_table(results: Results) -> str:
    """Returns seconds and peak memory of a cell, means over the seeds, and what was chosen.

    A cell that was killed and went on tells the seconds since then alone, hence "≥".
    """
    lines = [
        "| cost | seconds | of them training | peak memory, GiB | passes, or settings |",
        "|---" * 5 + "|",
    ]
    for model, found in results.items():
        count = len(found)
        seconds = sum(result["seconds"] for result in found) / count
        training = sum(result["training"].get("training_seconds", 0.0) for result in found) / count
        memory = max(result["peak_memory_bytes"] for result in found) / 2**30
        picked = "; ".join(dict.fromkeys(_chosen_settings(result) for result in found))
        least = "≥ " if any(result.get("resumed") for result in found) else ""
        lines.append(
            f"| {model} | {least}{seconds:.0f} | {training:.0f} | {memory:.1f} | {picked} |"
        )
    return "\n".join(lines)


def _chosen_settings(result: dict[str, Any]) -> str:
    training = result["training"]
    if "settings" not in training:
        return str(training.get("best_epoch", ""))
    notes = ("validation_ndcg@10", "validation_queries", "settings_tried")
    return " ".join(
        f"{key} {value:g}" for key, value in training["settings"].items() if key not in notes
    )


def section(found: dict[str, list[dict[str, Any]]]) -> str:
    """Returns all of one data set and protocol as Markdown.

    Args:
        found: model → cells of all seeds.
    """
    results = by_model(found)
    baselines = [name for name in results if name not in OURS]
    every = [cell for cells in found.values() for cell in cells]
    tables = [quality_table(results, baselines, name) for name in SLICES]
    settings = [f"{model}: `{' '.join(cells[0]['overrides'])}`" for model, cells in found.items()]
    parts = [
        about(every) + f". sha256 of the tables in full: `{every[0]['data']['sha256']}`.",
        *(table for table in tables if table),
        *(stored_table(results, *table) for table in STORED_TABLES),
        cost_table(results),
        "Memory is that of the whole cell, and the fast baselines of a seed share one. "
        f"Settings over `{every[0]['config']}`: " + "; ".join(settings) + ".",
    ]
    return "\n\n".join(part for part in parts if part)


def plot(path: Path, title: str, found: dict[str, list[dict[str, Any]]]) -> Path:
    """Draws every model on every slice, by the metric that its table compares by."""
    results = by_model(found)
    groups: dict[str, list[tuple[str, float, float, float]]] = {}
    for name, shown in SLICES.items():
        metric = METRIC_OF_SLICE.get(name, METRICS[0])
        rows = [
            (model, *mean_with_interval([in_slice(r, name) for r in cells], metric))
            for model, cells in results.items()
            if any(result["slices"][name] for result in cells)
        ]
        if rows:
            groups[f"{shown}, {metric}"] = rows
    return interval_plot(path, groups, title=title, x_label="mean with 95 % interval over users")


def main(arguments: Sequence[str] | None = None, *, apart: bool = True) -> int:
    """Runs what is missing, and reports what is there.

    Args:
        arguments: of the command line; None takes those of the process.
        apart: whether each cell has a process of its own.
    """
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--cells", type=Path, help="folder of the finished cells")
    parser.add_argument("--out", type=Path, help="file of the tables; without it they are printed")
    parser.add_argument("--data", nargs="+", help="names in configs/, or files")
    parser.add_argument("--seeds", nargs="+", type=int, default=list(SEEDS))
    parser.add_argument("--only", nargs="+", default=[], help="names or patterns of cells")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE")
    parser.add_argument("--plots", type=Path, help="folder of the plots")
    parser.add_argument("--quick", action="store_true", help="the bookshop with few passes")
    parser.add_argument("--list", action="store_true", help="show the cells and stop")
    parser.add_argument("--report", action="store_true", help="run nothing, report what is there")
    options = parser.parse_args(arguments)

    name = "quality-quick" if options.quick else "quality"
    folder = options.cells or Path("runs") / name
    plots = options.plots or (folder / "plots" if options.quick else PLOTS)
    data = options.data or (QUICK_DATA if options.quick else DATA)
    seeds = options.seeds
    cells = make_cells(data, seeds, options.set)
    try:
        wanted = chosen(list(cells.values()), options.only)
    except UsageError as error:
        parser.error(str(error))
    if options.list:
        for cell in wanted:
            done = (folder / f"{cell.name}.json").is_file()
            print(f"{'done' if done else '    '}  {cell.name}")
        return 0
    failed = {} if options.report else run_cells(wanted, folder, apart=apart)

    given = sys.argv[1:] if arguments is None else list(arguments)
    report = [f"Made by `{shlex.join(['python', 'benchmarks/bench_quality.py', *given])}`"]
    for source in data:
        for protocol in protocols_of(source):
            found = {
                model: _read([cells[source, protocol, model, s] for s in seeds], folder, failed)
                for model in MODELS
            }
            found = {model: results for model, results in found.items() if results}
            if not found:
                continue
            stem = Path(source).stem
            path = plots / f"quality_{stem}_{protocol}.svg"
            report += [section(found), f"Plot: {plot(path, f'{stem}, {protocol}', found)}"]
    text = "\n\n".join(report) + "\n"
    if options.out is None:
        print(text)
    else:
        with atomic_file(options.out) as temporary:
            temporary.write_text(text, encoding="utf-8")
    return exit_with(failed)


def _read(cells: Sequence[Cell], folder: Path, failed: dict[str, str]) -> list[dict[str, Any]]:
    results = [read_cell(cell, folder) for cell in cells if cell.name not in failed]
    return [result for result in results if result is not None]


if __name__ == "__main__":
    sys.exit(main())
