"""How quality falls when interactions are few: the share of the training part that is kept.

    python benchmarks/sparsity.py --out runs/sparsity [--data movielens microlens] [--seeds 7 8]

The test cases are the same at every share. Finished cells stay in --out, so that a killed
benchmark goes on. The tables go to stdout, the plots to `benchmarks/plots/`.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from cell import Cell
from cell_figures import METRICS, about, difference_with_interval, figure, mean_with_interval
from cells import chosen, exit_with, read_cell, run_cells
from plots import line_plot

from tfrec_llm.errors import UsageError

PLOTS = Path(__file__).parent / "plots"
SHARES = (1.0, 0.5, 0.2, 0.1, 0.05)

# What is the same for all cells; for speed, not for the best figures.
SETTINGS = {
    "towers.embedding_dim": 128,
    "towers.history": "mean",
    "towers.max_history": 20,
    "towers.text_start_share": 0.4,
    "towers.item_id_rate": 1.0,
    "train.learning_rate": 0.004,
    "train.epochs": 6,
    "train.patience": 2,
    "train.text_search_weight": 0.2,
}
SETTINGS_OF_DATA: dict[str, dict[str, Any]] = {
    "movielens": {"train.batch_size": 64},
    "microlens": {"train.batch_size": 256, "evaluate.max_users": 5000},
}

# Name → what it changes, and the model that is measured.
METHODS: dict[str, tuple[dict[str, Any], str]] = {
    "features_and_ids": ({}, "trained"),
    "features_only": ({"towers.item_ids": "false"}, "trained"),
    "ids_only": ({"encoder.kind": "none", "train.text_search_weight": 0.0}, "trained"),
    "item_knn": ({}, "item_knn"),
}
AUGMENTED = {
    "features_and_ids_augmented": ({"train.text_copies": 3}, "trained"),
    "features_only_augmented": (
        {"train.text_copies": 3, "towers.item_ids": "false"},
        "trained",
    ),
}


def make_cells(
    data: Sequence[str],
    shares: Sequence[float],
    seeds: Sequence[int],
    *,
    augmented: bool = False,
    overrides: Sequence[str] = (),
) -> list[Cell]:
    """Returns the cells of all methods, the cheap ones of a data set and seed first."""
    methods = METHODS | (AUGMENTED if augmented else {})
    return [
        Cell(
            cell_name(source, share, method, seed),
            source,
            (
                *(f"{k}={v}" for k, v in _settings(source, methods[method][0]).items()),
                f"split.train_share={share:g}",
                f"train.seed={seed}",
                *overrides,
            ),
            methods[method][1],
        )
        for source in data
        for seed in seeds
        for share in sorted(shares)
        for method in methods
    ]


def cell_name(source: str, share: float, method: str, seed: int) -> str:
    """Returns the name of a cell, which is that of its file."""
    return f"{Path(source).stem}.{method}.share-{share:g}.seed-{seed}"


def _settings(source: str, changes: dict[str, Any]) -> dict[str, Any]:
    return SETTINGS | SETTINGS_OF_DATA.get(source, {}) | changes


def table(source: str, results: dict[tuple[float, str], list[dict[str, Any]]], metric: str) -> str:
    """Returns one data set as Markdown: methods by shares, and the differences to ids only.

    Args:
        source: name of the configuration.
        results: share and method → results of all seeds.
        metric: a key of `METRICS`.
    """
    shares = sorted({share for share, _ in results}, reverse=True)
    methods = list(dict.fromkeys(method for _, method in results))
    every = [result for found in results.values() for result in found]
    head = "| " + metric + " | " + " | ".join(f"{100 * share:g} %" for share in shares) + " |"
    lines = [about(every) + ".", "", head, "|---" * (len(shares) + 1) + "|"]
    for method in methods:
        columns = [
            figure(*mean_with_interval(results[share, method], metric))
            if (share, method) in results
            else "–"
            for share in shares
        ]
        lines.append(f"| {method} | " + " | ".join(columns) + " |")
    for base in ("ids_only", "item_knn"):
        for method in (m for m in methods if m not in ("ids_only", "item_knn")):
            if not any((share, base) in results for share in shares):
                continue
            columns = [
                _difference(results.get((share, method)), results.get((share, base)), metric)
                for share in shares
            ]
            lines.append(f"| {method} − {base} | " + " | ".join(columns) + " |")
    lines += ["", f"Settings: {' '.join(every[0]['overrides'])}"]
    return "\n".join(lines)


def _difference(
    results: list[dict[str, Any]] | None, others: list[dict[str, Any]] | None, metric: str
) -> str:
    """Returns the difference over the seeds that both were measured with."""
    others_by_seed = {other["seed"]: other for other in others or []}
    ours = [result for result in results or [] if result["seed"] in others_by_seed]
    if not ours:
        return "–"
    theirs = [others_by_seed[result["seed"]] for result in ours]
    return figure(*difference_with_interval(ours, theirs, metric), signed=True)


def plot(
    path: Path, source: str, results: dict[tuple[float, str], list[dict[str, Any]]], metric: str
) -> Path:
    """Draws one data set: a line a method over the share that was kept."""
    series: dict[str, list[tuple[float, float, float, float]]] = {}
    for (share, method), found in results.items():
        point = (100 * share, *mean_with_interval(found, metric))
        series.setdefault(method.replace("_", " "), []).append(point)
    return line_plot(
        path,
        series,
        title=f"{source}: {metric} by interactions kept",
        x_label="% of the training interactions",
        y_label=metric,
    )


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs what is missing, and reports what is there."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, required=True, help="folder of the finished cells")
    parser.add_argument("--data", nargs="+", default=["movielens", "microlens"])
    parser.add_argument("--shares", nargs="+", type=float, default=list(SHARES))
    parser.add_argument("--seeds", nargs="+", type=int, default=[7])
    parser.add_argument("--augmented", action="store_true", help="methods with text copies too")
    parser.add_argument("--only", nargs="+", default=[], help="names or patterns of cells")
    parser.add_argument("--metric", choices=list(METRICS), default="ndcg@10")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE")
    parser.add_argument("--plots", type=Path, default=PLOTS, help="folder of the plots")
    parser.add_argument("--list", action="store_true", help="show the cells and stop")
    parser.add_argument("--report", action="store_true", help="run nothing, report what is there")
    options = parser.parse_args(arguments)

    cells = make_cells(
        options.data,
        options.shares,
        options.seeds,
        augmented=options.augmented,
        overrides=options.set,
    )
    try:
        wanted = chosen(cells, options.only)
    except UsageError as error:
        parser.error(str(error))
    if options.list:
        for cell in wanted:
            done = (options.out / f"{cell.name}.json").is_file()
            print(f"{'done' if done else '    '}  {cell.name}")
        return 0
    failed = {} if options.report else run_cells(wanted, options.out)

    by_name = {cell.name: cell for cell in cells}
    methods = [*METHODS, *AUGMENTED]
    for source in options.data:
        results: dict[tuple[float, str], list[dict[str, Any]]] = {}
        for method in methods:
            for share in options.shares:
                names = [cell_name(source, share, method, seed) for seed in options.seeds]
                found = [
                    read_cell(by_name[n], options.out)
                    for n in names
                    if n in by_name and n not in failed
                ]
                if any(found):
                    results[share, method] = [result for result in found if result]
        if results:
            path = options.plots / f"sparsity_{Path(source).stem}.svg"
            print(table(source, results, options.metric))
            print(f"\nPlot: {plot(path, Path(source).stem, results, options.metric)}\n")
    return exit_with(failed)


if __name__ == "__main__":
    sys.exit(main())
