"""What each part brings: one factor at a time is changed, all else stays at the default.

    python benchmarks/ablation.py --list
    python benchmarks/ablation.py --out runs/ablation [--only 'movielens.leave_one_out.*']

Each row is compared with the default on the same test users, pair by pair: "helps" means that the
95 % interval of the difference lies above zero, "hurts" that it lies below. Finished cells stay in
--out, so that a killed benchmark goes on. A cell that fails does not stop the others; all that
failed stand at the end, and the exit code is 1.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from cell import TRAINED, Cell
from cell_figures import about, difference_with_interval, figure, mean_with_interval
from cells import chosen, exit_with, read_cell, run_cells
from plots import interval_plot

from tfrec_llm.errors import UsageError

PLOTS = Path(__file__).parent / "plots"
DATA = ("movielens", "microlens")
PROTOCOLS = ("leave_one_out", "cold_items")

# The default that every factor is changed from; for speed, not for the best figures.
SETTINGS: dict[str, Any] = {
    "towers.embedding_dim": 128,
    "towers.history": "mean",
    "towers.max_history": 20,
    "towers.neighbours": 0,
    "towers.popularity_prior": "false",
    "towers.text_start_share": 0.4,
    "text.max_tokens": 64,
    "encoder.word_columns": 0,  # so that poolings and encodings differ in nothing else
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
# Targets without clicks seldom come among the first ten of the whole corpus.
METRIC = {"leave_one_out": "ndcg@10", "cold_items": "recall@100"}
SECOND_METRIC = {"leave_one_out": "recall@100", "cold_items": "ndcg@100"}

POOLINGS = ("mean", "cls", "max", "last", "sif", "layers", "weighted", "attention", "lstm", "gru")
ENCODINGS = ("one_hot", "word_embedding", "tfidf", "bm25", "sparse_coding", "none")
BASELINES = ("popularity", "item_knn", "als", "bpr", "tfidf", "zero_shot")
DEFAULT = "default"

Factor = dict[str, tuple[dict[str, Any], str]]  # setting → what it changes, model measured


def factors(pretrained: str | None, random_weights: str) -> dict[str, Factor]:
    """Returns factor → setting → changes; the setting of the default changes nothing.

    Args:
        pretrained: folder of a language model trained on the corpus, None leaves that row out.
        random_weights: folder of the same model with random weights; made when it is missing.
    """
    encoders: Factor = {
        "all_minilm_l6_v2_en": ({}, TRAINED),
        "random_weights": ({"encoder.preset": random_weights}, TRAINED),
    }
    if pretrained:
        encoders["pretrained_on_corpus"] = ({"encoder.preset": pretrained}, TRAINED)
    factorisations = {
        f"matrix_factorisation_{loss}": (
            {"model.kind": "matrix_factorisation", "model.loss": loss},
            TRAINED,
        )
        for loss in ("bpr", "warp", "softmax")
    }
    return {
        "cleaning": {
            level: ({} if level == "none" else {"text.clean": level}, TRAINED)
            for level in ("none", "light", "full")
        },
        "pooling": {
            name: ({} if name == "mean" else {"encoder.pooling": name}, TRAINED)
            for name in POOLINGS
        },
        "encoder": encoders,
        "encoding": {
            "language_model": ({}, TRAINED),
            "words_beside": ({"encoder.word_columns": 512}, TRAINED),
            **{
                kind: (
                    {"encoder.kind": kind}
                    | ({"train.text_search_weight": 0.0} if kind == "none" else {}),
                    TRAINED,
                )
                for kind in ENCODINGS
            },
        },
        "model": {
            "two_tower": ({}, TRAINED),
            **factorisations,
            "two_tower_with_neighbours": ({"towers.neighbours": 100}, TRAINED),
            "two_tower_reranked": ({"ranker.train": "true"}, "two_tower_reranked"),
            **{f"baseline_{name}": ({}, name) for name in BASELINES},
        },
    }


def make_cells(
    data: Sequence[str],
    protocols: Sequence[str],
    seed: int,
    table_of_factors: dict[str, Factor],
    overrides: Sequence[str] = (),
) -> dict[tuple[str, str, str, str], Cell]:
    """Returns (data, protocol, factor, setting) → cell; the default is one cell under many keys."""
    made: dict[tuple[str, str, str, str], Cell] = {}
    for source in data:
        for protocol in protocols:
            base = SETTINGS | SETTINGS_OF_DATA.get(source, {}) | {"split.protocol": protocol}
            for factor, rows in {DEFAULT: {DEFAULT: ({}, TRAINED)}, **table_of_factors}.items():
                for setting, (changes, model) in rows.items():
                    made[source, protocol, factor, setting] = Cell(
                        cell_name(source, protocol, factor, setting, changes, model, seed),
                        source,
                        (
                            *(f"{k}={v}" for k, v in (base | changes).items()),
                            f"train.seed={seed}",
                            *overrides,
                        ),
                        model,
                    )
    return made


def cell_name(
    source: str,
    protocol: str,
    factor: str,
    setting: str,
    changes: dict[str, Any],
    model: str,
    seed: int,
) -> str:
    """Returns the name of a cell; a setting that changes nothing is the default."""
    what = f"{factor}.{setting}" if changes or model != TRAINED else DEFAULT
    return f"{Path(source).stem}.{protocol}.{what}.seed-{seed}"


def verdict(difference: tuple[float, float, float]) -> str:
    """Returns what an interval of a difference says: `helps`, `hurts` or `open`."""
    _, low, high = difference
    return "helps" if low > 0.0 else "hurts" if high < 0.0 else "open"


Rows = dict[str, dict[str, dict[str, Any]]]


def table(default: dict[str, Any], rows: Rows, protocol: str) -> str:
    """Returns one data set and protocol as Markdown.

    Args:
        default: the result of the default.
        rows: factor → setting → result.
        protocol: one of `PROTOCOLS`.
    """
    metric, second = METRIC[protocol], SECOND_METRIC[protocol]
    every = [default, *(result for found in rows.values() for result in found.values())]
    lines = [
        about(every) + ".",
        "",
        f"| factor | setting | {metric} | {second} | {metric} − default | | minutes |",
        "|---" * 7 + "|",
    ]
    for factor, found in rows.items():
        for setting, result in found.items():
            shown = [
                figure(*mean_with_interval([result], metric)),
                figure(*mean_with_interval([result], second)),
            ]
            if result["name"] == default["name"]:
                shown += ["", "default"]
            else:
                difference = difference_with_interval([result], [default], metric)
                same = result["places"] == default["places"]
                shown += [
                    figure(*difference, signed=True),
                    "no place differs from the default" if same else verdict(difference),
                ]
            minutes = f"{result['seconds'] / 60:.1f}"
            lines.append(f"| {factor} | {setting} | " + " | ".join([*shown, minutes]) + " |")
    lines += ["", f"Settings of the default: {' '.join(default['overrides'])}"]
    return "\n".join(lines)


def plot(path: Path, source: str, default: dict[str, Any], rows: Rows, protocol: str) -> Path:
    """Draws the differences to the default, grouped by factor."""
    metric = METRIC[protocol]
    groups = {
        factor: [
            (setting, *difference_with_interval([result], [default], metric))
            for setting, result in found.items()
            if result["name"] != default["name"]
        ]
        for factor, found in rows.items()
    }
    return interval_plot(
        path,
        {factor: lines for factor, lines in groups.items() if lines},
        title=f"{source}, {protocol}",
        x_label=f"{metric} minus that of the default, 95 % interval",
    )


def random_preset(folder: Path, like: str, seed: int = 7) -> Path:
    """Writes a language model of the same shape and tokenizer with random weights.

    Args:
        folder: where to write; left alone when it holds a model.
        like: a preset name or folder.
        seed: int, of the weights.
    """
    if (folder / "model.weights.h5").is_file():
        return folder
    from tfrec_llm.encoders.load_preset import load_preset
    from tfrec_llm.encoders.presets import resolve_preset
    from tfrec_llm.keras_api import keras

    tokenizer, trained = load_preset(resolve_preset(like))
    keras.utils.set_random_seed(seed)
    backbone = type(trained).from_config(trained.get_config())
    folder.mkdir(parents=True, exist_ok=True)
    tokenizer.save_to_preset(str(folder))
    backbone.save_to_preset(str(folder))
    return folder


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs what is missing, and reports what is there."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=Path("runs/ablation"))
    parser.add_argument("--data", nargs="+", default=list(DATA))
    parser.add_argument("--protocols", nargs="+", choices=PROTOCOLS, default=list(PROTOCOLS))
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--pretrained", help="folder of a language model trained on the corpus")
    parser.add_argument("--encoder", default="all_minilm_l6_v2_en", help="shape of random_weights")
    parser.add_argument("--only", nargs="+", default=[], help="names or patterns of cells")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE")
    parser.add_argument("--plots", type=Path, default=PLOTS, help="folder of the plots")
    parser.add_argument("--list", action="store_true", help="show the cells and stop")
    parser.add_argument("--report", action="store_true", help="run nothing, report what is there")
    options = parser.parse_args(arguments)

    random_folder = (options.out / "random_weights").absolute()
    pretrained = str(Path(options.pretrained).absolute()) if options.pretrained else None
    all_factors = factors(pretrained, str(random_folder))
    cells = make_cells(options.data, options.protocols, options.seed, all_factors, options.set)
    unique = list({cell.name: cell for cell in cells.values()}.values())
    try:
        wanted = chosen(unique, options.only)
    except UsageError as error:
        parser.error(str(error))
    if options.list:
        for cell in wanted:
            done = (options.out / f"{cell.name}.json").is_file()
            print(f"{'done' if done else '    '}  {cell.name}")
        return 0
    failed: dict[str, str] = {}
    if not options.report:
        if any(".encoder.random_weights." in cell.name for cell in wanted):
            random_preset(random_folder, options.encoder)
        failed = run_cells(wanted, options.out)

    for source in options.data:
        for protocol in options.protocols:
            stem = Path(source).stem
            default = _read(cells[source, protocol, DEFAULT, DEFAULT], options.out, failed)
            rows: Rows = {}
            for factor, settings in all_factors.items():
                found = {s: _read(cells[source, protocol, factor, s], options.out, failed)
                         for s in settings}  # fmt: skip
                rows[factor] = {setting: result for setting, result in found.items() if result}
            rows = {factor: found for factor, found in rows.items() if found}
            if default is None:
                if rows:
                    print(f"{stem}, {protocol}: the default is missing; nothing to compare with\n")
                continue
            path = options.plots / f"ablation_{stem}_{protocol}.svg"
            print(table(default, rows, protocol))
            print(f"\nPlot: {plot(path, stem, default, rows, protocol)}\n")
    return exit_with(failed)


def _read(cell: Cell, out: Path, failed: dict[str, str]) -> dict[str, Any] | None:
    return None if cell.name in failed else read_cell(cell, out)


if __name__ == "__main__":
    sys.exit(main())
