"""How much of the exact answer an index finds."""

from __future__ import annotations

import numpy as np

from tfrec_llm.keras_api import tf
from tfrec_llm.retrieval.brute_force_index import search_exactly
from tfrec_llm.retrieval.top_k_index import TopKIndex


def index_recall(
    index: TopKIndex, queries: np.ndarray, k: int = 10, batch_size: int = 256
) -> float:
    """Returns the mean share of the exact `k` best candidates that the index finds.

    A candidate that ties with the last of the exact ones counts as found.

    Args:
        index: the index to measure.
        queries: float `(num_queries, dim)`, such as the index will meet.
        k: int >= 1. Defaults to 10; at most as many candidates as there are count.
        batch_size: int, queries at a time. Defaults to 256.

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
    found = 0
    for begin in range(0, len(queries), batch_size):
        batch = tf.constant(np.asarray(queries[begin : begin + batch_size], np.float32))
        exact_scores, _ = search_exactly(index.embeddings, batch, k)
        # Scored again from the embeddings: an index is judged by what it found, not what it says.
        _, numbers = index.search(batch, k)
        rows = tf.gather(index.embeddings, tf.maximum(numbers, 0))
        scores = tf.einsum("bd,bkd->bk", batch, rows).numpy()
        good_enough = exact_scores.numpy()[:, -1:] - 1e-5
        unique = _first_of_each(numbers.numpy())
        found += int((unique & (scores >= good_enough)).sum())
    return min(1.0, found / (k * len(queries))) if len(queries) else 1.0


def _first_of_each(numbers: np.ndarray) -> np.ndarray:
    """Marks each item number once a row, and no place where nothing was found."""
    marked = numbers >= 0
    for row, mark in zip(numbers, marked, strict=True):
        mark[:] &= np.isin(np.arange(len(row)), np.unique(row, return_index=True)[1])
    return marked
