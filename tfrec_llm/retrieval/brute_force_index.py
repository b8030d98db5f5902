"""The exact index: every query against every candidate."""

from __future__ import annotations

from typing import Any

import numpy as np

from tfrec_llm.keras_api import tf
from tfrec_llm.retrieval.top_k_index import LOWEST_SCORE, NOTHING, TopKIndex, pad_to_k

_MAX_SCORES = 1 << 25  # float32 scores held at a time: 128 MiB


class BruteForceIndex(TopKIndex):
    """Compares with every candidate: the yardstick of the others, and quick up to about 10⁵.

    Many queries against many candidates are done in blocks of candidates, so memory stays bounded.

    Args:
        embeddings: float `(num_items, dim)`, one row a candidate, finite.
        max_scores: int, how many scores may be held in memory at a time. Defaults to 2²⁵.

    Example:
        >>> index = BruteForceIndex(np.eye(3, dtype=np.float32))
        >>> scores, numbers = index.search(tf.constant([[0.0, 0.6, 0.8]]), 2)
        >>> numbers.numpy().tolist()
        [[2, 1]]
    """

    kind = "brute_force"
    is_exact = True

    def __init__(self, embeddings: np.ndarray, max_scores: int = _MAX_SCORES) -> None:
        super().__init__(embeddings)
        self.max_scores = max_scores

    def search(self, queries: Any, k: Any) -> tuple[Any, Any]:
        """Finds the best candidates of each query exactly; see `TopKIndex.search`."""
        return search_exactly(self.embeddings, queries, k, self.max_scores)


def search_exactly(
    embeddings: Any, queries: Any, k: Any, max_scores: int = _MAX_SCORES
) -> tuple[Any, Any]:
    """Finds the best rows of `embeddings` for each query by comparing with all of them.

    Args:
        embeddings: tf.Variable or tensor, float32 `(num_items, dim)`, num_items known.
        queries: float32 `(batch, dim)`.
        k: int32 scalar tensor or int, >= 0.
        max_scores: int, scores held at a time.

    Returns: scores float32 `(batch, k)` and row numbers int32 `(batch, k)`, padded like those of
        an index.

    Example:
        >>> _, numbers = search_exactly(tf.eye(3), tf.constant([[0.0, 0.6, 0.8]]), 4, max_scores=1)
        >>> numbers.numpy().tolist()
        [[2, 1, 0, -1]]
    """
    queries = tf.cast(queries, tf.float32)
    candidates = tf.convert_to_tensor(embeddings)
    num_items = int(candidates.shape[0])
    batch = tf.shape(queries)[0]
    k = tf.convert_to_tensor(k, tf.int32)
    width = tf.minimum(k, num_items)
    rows = tf.clip_by_value(max_scores // tf.maximum(batch, 1), 1, num_items)
    # One query alone is multiplied by another kernel, which rounds equal rows differently. With a
    # second one beside it, candidates that tie do so whatever the batch.
    queries = tf.pad(queries, [[0, tf.maximum(2 - batch, 0)], [0, 0]])

    def merge(begin: Any, best_scores: Any, best_numbers: Any) -> tuple[Any, Any, Any]:
        block = candidates[begin : begin + rows]
        scores = tf.matmul(queries, block, transpose_b=True)[:batch]
        scores, numbers = tf.math.top_k(scores, tf.minimum(width, tf.shape(block)[0]))
        # What was found before stands first, so that the lowest number wins every tie.
        scores = tf.concat([best_scores, scores], axis=1)
        numbers = tf.concat([best_numbers, begin + numbers], axis=1)
        scores, places = tf.math.top_k(scores, width)
        return begin + rows, scores, tf.gather(numbers, places, batch_dims=1)

    any_width = tf.TensorShape([None, None])
    _, scores, numbers = tf.while_loop(
        lambda begin, *_: begin < num_items,
        merge,
        (tf.constant(0), tf.fill([batch, width], LOWEST_SCORE), tf.fill([batch, width], NOTHING)),
        shape_invariants=(tf.TensorShape([]), any_width, any_width),
        parallel_iterations=1,
    )
    return pad_to_k(scores, numbers, k)
