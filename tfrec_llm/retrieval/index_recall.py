"""How much of the exact answer an index finds."""

from __future__ import annotations

from typing import Any

import numpy as np

from tfrec_llm.keras_api import tf
from tfrec_llm.retrieval.brute_force_index import search_exactly
from tfrec_llm.retrieval.top_k_index import TopKIndex


def index_recall(
    index: TopKIndex,
    queries: np.ndarray,
    k: int = 10,
    batch_size: int = 256,
    exact: np.ndarray | None = None,
) -> float:
    """Returns the mean share of the exact `k` best candidates that the index finds.

    A candidate that ties with the last of the exact ones counts as found.

    Args:
        index: the index to measure.
        queries: float `(num_queries, dim)`, such as the index will meet.
        k: int >= 1. Defaults to 10; at most as many candidates as there are count.
        batch_size: int, queries at a time. Defaults to 256.
        exact: what `exact_scores` returned for the same queries and k, to spare that work.

    Returns: float in [0, 1]; 1.0 without queries.

    Example:
        >>> from tfrec_llm.retrieval.brute_force_index import BruteForceIndex
        >>> vectors = np.eye(4, dtype=np.float32)
        >>> index_recall(BruteForceIndex(vectors), vectors, k=2)
        1.0
    """
    if k < 1:
        raise ValueError(f"`k` must be at least 1, got {k}.")
    k = min(k, index.num_items)
    if exact is None:
        exact = exact_scores(index.embeddings, queries, k, batch_size)
    search = tf.function(lambda queries, k: index.search(queries, k), autograph=False)
    found = 0
    for begin in range(0, len(queries), batch_size):
        batch = tf.constant(np.asarray(queries[begin : begin + batch_size], np.float32))
        # Scored again from the embeddings: an index is judged by what it found, not what it says.
        _, numbers = search(batch, tf.constant(k))
        rows = tf.gather(index.embeddings, tf.maximum(numbers, 0))
        scores = tf.einsum("bd,bkd->bk", batch, rows).numpy()
        good_enough = exact[begin : begin + batch_size, -1:] - 1e-5
        unique = _first_of_each(numbers.numpy())
        found += int((unique & (scores >= good_enough)).sum())
    return min(1.0, found / (k * len(queries))) if len(queries) else 1.0


def exact_scores(
    embeddings: Any, queries: np.ndarray, k: int = 10, batch_size: int = 256
) -> np.ndarray:
    """Returns the scores of the `k` best candidates of each query, best first.

    Args:
        embeddings: tf.Variable or tensor float32 `(num_items, dim)`.
        queries: float `(num_queries, dim)`.
        k: int >= 1. Defaults to 10; at most as many candidates as there are count.
        batch_size: int, queries at a time. Defaults to 256.

    Returns: float32 `(num_queries, min(k, num_items))`.

    Example:
        >>> exact_scores(tf.eye(2), np.array([[0.6, 0.8]], np.float32), 1).round(1).tolist()
        [[0.800000011920929]]
    """
    k = min(k, int(embeddings.shape[0]))
    blocks = [np.empty((0, k), np.float32)]
    for begin in range(0, len(queries), batch_size):
        batch = tf.constant(np.asarray(queries[begin : begin + batch_size], np.float32))
        blocks.append(search_exactly(embeddings, batch, k)[0].numpy())
    return np.concatenate(blocks)


def _first_of_each(numbers: np.ndarray) -> np.ndarray:
    """Marks each item number once a row, and no place where nothing was found."""
    marked = numbers >= 0
    for row, mark in zip(numbers, marked, strict=True):
        mark[:] &= np.isin(np.arange(len(row)), np.unique(row, return_index=True)[1])
    return marked
