"""Brute force, inverted lists and ScaNN side by side: latency and recall on random unit vectors.

Random vectors are the hardest case: they have no neighbourhoods for a tree to find. Trained ones
vary in far fewer directions than they have entries; `--directions 16` draws such vectors.

    python benchmarks/index_search.py 10000 100000 --dim 128 --directions 16
"""

from __future__ import annotations

import argparse
import time

import numpy as np

from tfrec_llm.keras_api import tf
from tfrec_llm.retrieval.brute_force_index import BruteForceIndex
from tfrec_llm.retrieval.index_recall import index_recall
from tfrec_llm.retrieval.ivf_index import IvfIndex
from tfrec_llm.retrieval.scann_index import ScannIndex
from tfrec_llm.retrieval.top_k_index import TopKIndex
from tfrec_llm.seeds import child_generator


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("sizes", type=int, nargs="*", default=[10_000, 100_000], help="corpora")
    parser.add_argument("--dim", type=int, default=128)
    parser.add_argument("--directions", type=int, help="directions that vary; default: all")
    parser.add_argument("--k", type=int, default=10)
    parser.add_argument("--batch", type=int, nargs="*", default=[1, 32], help="queries at a time")
    parser.add_argument("--repeats", type=int, default=30)
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--num-leaves", type=int)
    parser.add_argument("--num-leaves-to-search", type=int)
    parser.add_argument("--num-reordering-candidates", type=int, default=300)
    parser.add_argument("--exact-below", type=int, default=20_000)
    arguments = parser.parse_args()

    print(f"{'corpus':>9}  {'index':12}{'build s':>8}{'recall':>8}{'batch':>7}{'ms a batch':>12}")
    for size in arguments.sizes:
        draw = child_generator(arguments.seed, "vectors", size)
        rows = unit_vectors(size + 256, arguments.dim, arguments.directions, draw)
        corpus, queries = rows[:size], rows[size:]
        for kind in ("brute_force", "ivf", "scann"):
            begin = time.perf_counter()
            index = build(kind, corpus, queries[: len(queries) // 2], arguments)
            build_seconds = time.perf_counter() - begin
            recall = index_recall(index, queries[len(queries) // 2 :], arguments.k)
            for batch in arguments.batch:
                seconds = search_seconds(index, queries[:batch], arguments.k, arguments.repeats)
                print(
                    f"{size:>9}  {kind:12}{build_seconds:>8.2f}{recall:>8.3f}{batch:>7}"
                    f"{1e3 * seconds:>12.3f}"
                )
        print(f"{'':11}{index.parameters}")


def unit_vectors(
    num_rows: int, dim: int, directions: int | None, draw: np.random.Generator
) -> np.ndarray:
    """Draws vectors of length 1 that vary in some directions, with a little noise in the rest."""
    if directions is None:
        rows = draw.normal(size=(num_rows, dim))
    else:
        rows = draw.normal(size=(num_rows, directions)) @ draw.normal(size=(directions, dim))
        rows = rows / np.sqrt(directions) + 0.1 * draw.normal(size=(num_rows, dim))
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)


def build(
    kind: str, corpus: np.ndarray, samples: np.ndarray, arguments: argparse.Namespace
) -> TopKIndex:
    """Builds one of the indexes; the lists are tuned on queries that recall is not measured on."""
    if kind == "brute_force":
        return BruteForceIndex(corpus)
    if kind == "ivf":
        return IvfIndex(corpus, sample_queries=samples, exact_below=arguments.exact_below)
    return ScannIndex(
        corpus,
        num_leaves=arguments.num_leaves,
        num_leaves_to_search=arguments.num_leaves_to_search,
        num_reordering_candidates=arguments.num_reordering_candidates,
        exact_below=arguments.exact_below,
    )


def search_seconds(index: TopKIndex, queries: np.ndarray, k: int, repeats: int) -> float:
    """Returns the median time of a search inside a graph."""
    search = tf.function(index.search, autograph=False)
    batch = tf.constant(queries)
    seconds = []
    for _ in range(repeats + 1):
        begin = time.perf_counter()
        search(batch, tf.constant(k))[0].numpy()
        seconds.append(time.perf_counter() - begin)
    return float(np.median(seconds[1:]))


if __name__ == "__main__":
    main()
