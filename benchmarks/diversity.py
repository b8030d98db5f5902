"""What more diverse, or less popular, lists cost: each knob of `recommend` over a grid.

    python benchmarks/diversity.py RUN --out diversity.md [--categories items.csv:genre]

RUN is a finished run that was evaluated. Its model ranks its own test queries; each knob then
chooses ten from the first hundred, one knob at a time. Written are a Markdown table to --out and
the plot of the trade-offs beside it, with the ending .svg.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from cell_figures import figure
from plots import trade_off_plot

from tfrec_llm.data.categories import read_categories
from tfrec_llm.data.queries import Queries
from tfrec_llm.diversity.diversify import diversify
from tfrec_llm.diversity.knobs import Knobs
from tfrec_llm.diversity.log_popularity import log_popularity
from tfrec_llm.errors import DataError, TfrecLlmError, UsageError
from tfrec_llm.evaluation.bootstrap import bootstrap_intervals
from tfrec_llm.evaluation.coverage import coverage_at_k
from tfrec_llm.evaluation.gini import gini_at_k
from tfrec_llm.evaluation.intra_list_distance import intra_list_distance_at_k
from tfrec_llm.evaluation.ndcg import ndcg_at_k
from tfrec_llm.evaluation.novelty import mean_of_listed, novelty_at_k
from tfrec_llm.evaluation.recall import recall_at_k
from tfrec_llm.evaluation.recommended_lists import target_ranks, unseen_scores
from tfrec_llm.evaluation.top_k import tie_order, top_k
from tfrec_llm.files import atomic_file

K = 10
SHARES = (0.05, 0.1, 0.2, 0.3, 0.5, 0.7, 0.9)
PENALTIES = (0.05, 0.1, 0.2, 0.3, 0.5, 0.7, 1.0)
LIMITS = (5, 3, 2, 1)
PLAIN = "none"
BEYOND = {  # column of the table and panel of the plot
    "coverage": f"coverage@{K}",
    "gini": f"gini@{K}",
    "novelty": f"novelty@{K}, bits",
    "distance": f"intra-list distance@{K}",
    "popularity": "mean share of the clicks, %",
}


@dataclass(frozen=True)
class Candidates:
    """The best unseen items of each test query, and what is known of all items.

    Attributes:
        queries: n cases.
        numbers: int32 `(n, width)`, item numbers, best first, -1 where nothing is left.
        scores: float32 `(n, width)`, of the model.
        embeddings: float32 `(num_items, D)`, the model's, by which the knobs see unlikeness.
        item_vectors: float `(num_items, F)`, by which lists are judged.
        counts: int `(num_items,)`, training interactions.
        categories: str or None of each item; None where no table was named.
    """

    queries: Queries
    numbers: np.ndarray
    scores: np.ndarray
    embeddings: np.ndarray
    item_vectors: np.ndarray
    counts: np.ndarray
    categories: list[str | None] | None = None


def grid(has_categories: bool) -> dict[tuple[str, str], Knobs]:
    """Returns (name of the knob, its value) → knobs; the first one leaves the list alone."""
    made = {(PLAIN, ""): Knobs()}
    for method in ("mmr", "dpp"):
        made |= {(f"diversity, {method}", f"{v:g}"): Knobs(v, method) for v in SHARES}
    made |= {("popularity penalty", f"{v:g}"): Knobs(popularity_penalty=v) for v in PENALTIES}
    if has_categories:
        made |= {("max per category", f"{v}"): Knobs(max_per_category=v) for v in LIMITS}
    return made


def lists_of(found: Candidates, knobs: Knobs) -> np.ndarray:
    """Returns int32 `(n, K)`, item numbers, best first, -1 where nothing is left."""
    popularity = log_popularity(found.counts / max(1, found.counts.sum()))
    lists = np.full((len(found.queries), K), -1, dtype=np.int32)
    for row, (numbers, scores) in enumerate(zip(found.numbers, found.scores, strict=True)):
        numbers, scores = numbers[numbers >= 0], scores[numbers >= 0]
        chosen = numbers[
            diversify(
                scores,
                found.embeddings[numbers],
                popularity[numbers],
                K,
                knobs,
                found.categories and [found.categories[number] for number in numbers],
            )
        ]
        lists[row, : len(chosen)] = chosen
    return lists


def measure(
    found: Candidates, settings: Mapping[tuple[str, str], Knobs], samples: int = 1000
) -> dict[tuple[str, str], dict[str, Any]]:
    """Returns the figures of each setting; accuracy as (mean, low, high).

    `change` is the paired difference of NDCG to the first setting, on the same draws of users.
    """
    results: dict[tuple[str, str], dict[str, Any]] = {}
    plain: np.ndarray | None = None
    for key, knobs in settings.items():
        lists = lists_of(found, knobs)
        ranks = target_ranks(lists, found.queries.targets)
        ndcg, recall = (np.asarray(metric(ranks, K)) for metric in (ndcg_at_k, recall_at_k))
        plain = ndcg if plain is None else plain
        values = np.stack([ndcg, recall, ndcg - plain], axis=1)
        ends = bootstrap_intervals(values, found.queries.user_ids, samples=samples)
        accuracy = [
            (float(mean), float(low), float(high))
            for mean, (low, high) in zip(values.mean(axis=0), ends, strict=True)
        ]
        shares = 100.0 * found.counts / max(1, found.counts.sum())
        results[key] = {
            **dict(zip(("ndcg", "recall", "change"), accuracy, strict=True)),
            "coverage": coverage_at_k(lists, K, len(found.counts)),
            "gini": gini_at_k(lists, K, len(found.counts)),
            "novelty": novelty_at_k(lists, K, found.counts),
            "distance": intra_list_distance_at_k(lists, K, found.item_vectors),
            "popularity": float(mean_of_listed(shares, lists).mean()),
            "short": int((lists[:, -1] < 0).sum()),
        }
    return results


def table(results: Mapping[tuple[str, str], dict[str, Any]]) -> str:
    """Returns the figures as Markdown."""
    heads = ["knob", "", f"ndcg@{K}", "its change", f"recall@{K}", *BEYOND.values()]
    lines = ["| " + " | ".join(heads) + " |", "|---" * len(heads) + "|"]
    for (knob, value), result in results.items():
        change = "" if knob == PLAIN else figure(*result["change"], signed=True)
        cells = [figure(*result["ndcg"]), change, figure(*result["recall"])]
        cells += ["–" if result[name] is None else f"{result[name]:.4f}" for name in BEYOND]
        lines.append(f"| {knob} | {value} | " + " | ".join(cells) + " |")
    short = {f"{knob} {value}": r["short"] for (knob, value), r in results.items() if r["short"]}
    if short:
        told = ", ".join(f"{name}: {number}" for name, number in short.items())
        lines += ["", f"Lists of fewer than {K} items: {told}."]
    return "\n".join(lines)


def plot(path: Path, results: Mapping[tuple[str, str], dict[str, Any]], title: str) -> Path:
    """Draws NDCG against each of the other figures; every line starts at the plain lists."""
    knobs = [knob for knob in dict.fromkeys(knob for knob, _ in results) if knob != PLAIN]
    panels = {
        label: {
            knob: [
                (result[name], *result["ndcg"])
                for (other, _), result in results.items()
                if other in (PLAIN, knob) and result[name] is not None
            ]
            for knob in knobs
        }
        for name, label in BEYOND.items()
    }
    return trade_off_plot(path, panels, title=title, y_label=f"ndcg@{K}")


def candidates_of(run: Path, width: int, categories: str | None) -> tuple[Candidates, str]:
    """Ranks the test queries of a run; returns the candidates and a line about the run."""
    from tfrec_llm.fusion.padding_mask import mean_of_tokens
    from tfrec_llm.models.retrieval_scorer import RetrievalScorer
    from tfrec_llm.serving.trained import TrainedModel
    from tfrec_llm.workflows.build import measured_queries, prepare, read_dataset
    from tfrec_llm.workflows.run_folder import RunFolder

    folder = RunFolder.open_trained(run)
    if not (run / "metrics.json").is_file():
        raise UsageError(f"{run} was not evaluated. Do `tfrec-llm evaluate {run}` first.")
    metrics = json.loads((run / "metrics.json").read_text(encoding="utf-8"))
    category_of = None if categories is None else read_categories(categories)
    config = folder.config
    dataset = read_dataset(config.data)
    if dataset.sha256 != metrics["data"]["sha256"]:
        raise DataError(f"The data of {run} changed since it was evaluated. Evaluate it again.")
    trained = TrainedModel.load(folder.model)
    prepared = prepare(config, dataset, trained.encoder)
    parts = prepared.split
    queries = measured_queries(config, parts)
    model = RetrievalScorer(
        trained.model,
        prepared.item_features,
        trained.popularity,
        prepared.text_features,
        neighbours=trained.neighbours,
    )
    order = tie_order(prepared.catalogue.item_ids)
    numbers = np.full((len(queries), width), -1, dtype=np.int32)
    scores = np.zeros((len(queries), width), dtype=np.float32)
    for rows, given in unseen_scores(model, queries, len(order)):
        numbers[rows] = top_k(given, width, order)
        scores[rows] = np.take_along_axis(given, np.maximum(numbers[rows], 0), axis=1)
    has_texts = config.encoder.kind not in ("word_embedding", "none")
    item_ids = prepared.catalogue.item_ids
    if category_of is not None and not category_of.keys() & set(item_ids):
        raise UsageError(f"--categories {categories} names no item of {run}.")
    found = Candidates(
        queries=queries,
        numbers=numbers,
        scores=scores,
        embeddings=model.item_embeddings,
        item_vectors=(
            mean_of_tokens(prepared.item_features) if has_texts else model.item_embeddings
        ),
        counts=prepared.num_clicks(
            parts.train_and_validation if config.train.refit else parts.train
        ),
        categories=category_of and [category_of.get(item_id) for item_id in item_ids],
    )
    measured = metrics["models"][model.name]["all"].get(f"ndcg@{K}")
    plain = float(ndcg_at_k(target_ranks(numbers, queries.targets), K).mean())
    if measured is not None and abs(plain - measured) > 1e-3:
        raise TfrecLlmError(
            f"{run}: ndcg@{K} is {plain:.4f} here and {measured:.4f} in metrics.json. The run was "
            f"evaluated by another version or model; do `tfrec-llm evaluate {run}` again."
        )
    data = metrics["data"]
    return found, (
        f"**{data['name']}**, {metrics['protocol']['split']}: {data['users']} users, "
        f"{data['items']} items, {data['interactions']} interactions, sha256 of the tables "
        f"`{data['sha256'][:16]}…`, seed {config.train.seed}, {len(queries)} test cases; "
        f"the best {K} of the first {width} items of {model.name}. Intra-list "
        f"distance by {'the texts' if has_texts else 'the item embeddings'}; in brackets 95 % "
        "intervals by bootstrap over users, of the change pair by pair."
    )


def main(arguments: Sequence[str] | None = None) -> int:
    """Measures, writes the table and the plot, and prints the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("run", type=Path, metavar="RUN", help="folder of an evaluated run")
    parser.add_argument("--out", type=Path, required=True, metavar="FILE", help="FILE.md to write")
    parser.add_argument("--categories", metavar="FILE:COLUMN", help="for the limit of a category")
    parser.add_argument("--candidates", type=int, default=100, help="that are chosen from")
    options = parser.parse_args(arguments)
    if options.candidates < K:
        parser.error(f"--candidates must be at least {K}")
    try:
        found, about = candidates_of(options.run, options.candidates, options.categories)
    except TfrecLlmError as error:
        print(f"Error: {error}", file=sys.stderr)
        return error.exit_code
    results = measure(found, grid(found.categories is not None))
    text = f"{about}\n\n{table(results)}\n"
    options.out.parent.mkdir(parents=True, exist_ok=True)
    with atomic_file(options.out) as temporary:
        temporary.write_text(text, encoding="utf-8")
    drawn = plot(options.out.with_suffix(".svg"), results, title=options.run.name)
    print(f"{text}\nPlot: {drawn}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
