"""The exact index: every query against every candidate."""

from __future__ import annotations

from typing import Any

import numpy as np

from tfrec_llm.keras_api import tf
from tfrec_llm.retrieval.top_k_index import TopKIndex, pad_to_k

_MAX_SCORES = 1 << 25  # float32: 128 MiB, and once or twice as much for copies


class BruteForceIndex(TopKIndex):
    """Compares with every candidate: the yardstick of the others, and quick up to about 10⁵.

    Many queries against many candidates are done a few queries at a time, so memory stays bounded.

    Args:
        embeddings: float `(num_items, dim)`, one row a candidate, finite.
        max_scores: int, how many scores are computed at a time; those of one query always are
            together. Copies take once or twice as much memory again. Defaults to 2²⁵.

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
        return search_exactly(self.embeddings, queries, k, self.first_equal, self.max_scores)


def search_exactly(
    embeddings: Any,
    queries: Any,
    k: Any,
    first_equal: Any = None,
    max_scores: int = _MAX_SCORES,
) -> tuple[Any, Any]:
    """Finds the best rows of `embeddings` for each query by comparing with all of them.

    Args:
        embeddings: tf.Variable or tensor, float32 `(num_items, dim)`, num_items known.
        queries: float32 `(batch, dim)`.
        k: int32 scalar tensor or int, >= 0.
        first_equal: int32 `(num_items,)`, for each row the first one equal to it, so that equal
            rows tie and come in the order of their numbers; None where none are, or where their
            order does not matter. A matrix product alone rounds some of them differently.
        max_scores: int, scores computed at a time, or those of one query where they are more.

    Returns: scores float32 `(batch, k)` and row numbers int32 `(batch, k)`, padded like those of
        an index.

    Example:
        >>> _, numbers = search_exactly(tf.eye(3), tf.constant([[0.0, 0.6, 0.8]]), 4)
        >>> numbers.numpy().tolist()
        [[2, 1, 0, -1]]
    """
    queries = tf.cast(queries, tf.float32)
    candidates = tf.convert_to_tensor(embeddings)
    num_items = int(candidates.shape[0])
    k = tf.convert_to_tensor(k, tf.int32)
    width = tf.minimum(k, num_items)
    at_a_time = max(1, max_scores // num_items)

    def search_next(begin: Any, all_scores: Any, all_numbers: Any) -> tuple[Any, Any, Any]:
        some = queries[begin : begin + at_a_time]
        scores = tf.matmul(candidates, some, transpose_b=True)
        if first_equal is not None:
            scores = tf.gather(scores, first_equal)
        scores, numbers = tf.math.top_k(tf.transpose(scores), width)
        all_scores = tf.concat([all_scores, scores], axis=0)
        return begin + at_a_time, all_scores, tf.concat([all_numbers, numbers], axis=0)

    any_shape = tf.TensorShape([None, None])
    _, scores, numbers = tf.while_loop(
        lambda begin, *_: begin < tf.shape(queries)[0],
        search_next,
        (tf.constant(0), tf.zeros([0, width]), tf.zeros([0, width], tf.int32)),
        shape_invariants=(tf.TensorShape([]), any_shape, any_shape),
        parallel_iterations=1,
    )
    return pad_to_k(scores, numbers, k)
