"""The approximate index in TensorFlow's own ops: any server can load it."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from tfrec_llm.errors import UsageError
from tfrec_llm.keras_api import tf
from tfrec_llm.retrieval.brute_force_index import search_exactly
from tfrec_llm.retrieval.index_recall import exact_scores, index_recall
from tfrec_llm.retrieval.inverted_lists import inverted_lists
from tfrec_llm.retrieval.top_k_index import (
    LOWEST_SCORE,
    NOTHING,
    TopKIndex,
    dot_products,
    pad_to_k,
)

_EXACT_BELOW = 20_000  # rows; under that, comparing with all of them is as quick
_LISTS_PER_ROOT = 8.0
_RESCORED = 4  # candidates scored again, against the number that is asked for
_MIN_RESCORED = 100
_SAMPLE = 256
_TUNED_K = 10
_STEP = 2**0.5  # between the numbers of lists that are tried


class IvfIndex(TopKIndex):
    """Searches the lists nearest to a query, in eight bits, then scores the best again exactly.

    Candidates lie in lists around centres found by k-means. A search compares the query with the
    centres, reads the candidates of the nearest lists as one byte a dimension, and scores the best
    of them again from the uncompressed embeddings, so scores are exact dot products. How many
    lists are read is found when the index is built: as few as reach the wanted recall on sample
    queries. Where the lists read hold fewer than k candidates, the batch is searched exactly: an
    answer is never shorter than k while the corpus has more.

    Args:
        embeddings: float `(num_items, dim)`, one row a candidate, finite.
        num_lists: int >= 1. Defaults to 8√num_items.
        num_lists_to_search: int >= 1. Defaults to what reaches `min_recall`.
        sample_queries: float `(num_queries, dim)`, such as the index will meet. Defaults to some of
            the candidates, which are easier to find than what users ask.
        min_recall: float in (0, 1], wanted recall@10 of the sample queries. Defaults to 0.95.
        exact_below: int, rows under which every candidate is compared, unless `num_lists` is
            given. Defaults to 20 000.
        seed: int, of k-means and samples.

    Raises: UsageError when a setting does not fit the number of candidates.

    Example:
        >>> index = IvfIndex(np.eye(4, dtype=np.float32), num_lists=2)
        >>> _, numbers = index.search(tf.constant([[0.0, 0.0, 0.6, 0.8]]), 5)
        >>> numbers.numpy().tolist()
        [[3, 2, 0, 1, -1]]

    Reference: Jégou, Douze and Schmid, 2011, Product Quantization for Nearest Neighbor Search
    """

    kind = "ivf"

    def __init__(
        self,
        embeddings: np.ndarray,
        num_lists: int | None = None,
        num_lists_to_search: int | None = None,
        sample_queries: np.ndarray | None = None,
        min_recall: float = 0.95,
        exact_below: int = _EXACT_BELOW,
        seed: int = 0,
    ) -> None:
        super().__init__(embeddings)
        _check(self.num_items, num_lists, num_lists_to_search, min_recall)
        self._options = {
            "num_lists": num_lists,
            "num_lists_to_search": num_lists_to_search,
            "min_recall": min_recall,
            "exact_below": exact_below,
        }
        self.is_exact = num_lists is None and self.num_items < exact_below
        if self.is_exact:
            self.num_lists = self.num_lists_to_search = 1
            return
        root = round(_LISTS_PER_ROOT * math.sqrt(self.num_items))
        self.num_lists = num_lists or min(root, self.num_items)
        rows = np.asarray(embeddings, np.float32)
        lists = inverted_lists(rows, self.num_lists, seed)
        steps = np.maximum(np.abs(rows).max(axis=0), 1e-30) / 127.0
        codes = np.rint(rows / steps).astype(np.int8)
        with tf.device("CPU:0"):
            self.centres = _constant(lists.centres, "centres")
            self.numbers = _constant(lists.numbers, "list_numbers")
            self.codes = _constant(codes[np.maximum(lists.numbers, 0)], "list_codes")
            self.steps = _constant(steps.astype(np.float32), "steps")
        self.num_lists_to_search = min(num_lists_to_search or 1, self.num_lists)
        if num_lists_to_search is None:
            self._find_lists_to_search(_sample(rows, sample_queries, seed), min_recall)

    @property
    def parameters(self) -> dict[str, object]:
        """Returns the settings of this index, for reports."""
        if self.is_exact:
            return super().parameters
        return {
            **super().parameters,
            "num_lists": self.num_lists,
            "num_lists_to_search": self.num_lists_to_search,
        }

    @property
    def options(self) -> dict[str, Any]:
        """Returns the arguments by which the same kind is built; see `TopKIndex.options`."""
        return dict(self._options)

    def search(self, queries: Any, k: Any) -> tuple[Any, Any]:
        """Finds good candidates of each query, best first; see `TopKIndex.search`."""
        queries = tf.cast(queries, tf.float32)
        k = tf.convert_to_tensor(k, tf.int32)
        if self.is_exact:
            return search_exactly(self.embeddings, queries, k, self.first_equal)
        width = tf.minimum(k, self.num_items)
        fetch = tf.minimum(tf.maximum(_RESCORED * width, _MIN_RESCORED), self.num_items)
        # Enough lists to hold that many candidates twice over.
        searched = tf.cast(tf.math.ceil(2 * fetch / self.num_items * self.num_lists), tf.int32)
        searched = tf.clip_by_value(searched, self.num_lists_to_search, self.num_lists)
        batch = tf.shape(queries)[0]
        # A map over no row knows no shape: an empty one stands in, and is cut off.
        padded = tf.pad(queries, [[0, tf.maximum(1 - batch, 0)], [0, 0]])
        nearness = tf.matmul(padded, self.centres, transpose_b=True)
        _, nearest = tf.math.top_k(nearness, searched)

        def best(row: tuple[Any, Any]) -> tuple[Any, Any]:
            return self._best_of_lists(*row, fetch, width)

        outputs = tf.float32, tf.int32
        scores, numbers = tf.map_fn(best, (padded, nearest), fn_output_signature=outputs)
        scores, numbers = scores[:batch], numbers[:batch]
        scores, numbers = tf.cond(
            tf.reduce_all(numbers >= 0),
            lambda: pad_to_k(scores, numbers, k),
            lambda: search_exactly(self.embeddings, queries, k, self.first_equal),
        )
        return scores, numbers

    def _best_of_lists(self, query: Any, lists: Any, fetch: Any, width: Any) -> tuple[Any, Any]:
        """Returns the `width` best of one query in some lists; -1 where they hold fewer."""
        numbers = tf.reshape(tf.gather(self.numbers, lists), [-1])
        codes = tf.reshape(tf.gather(self.codes, lists), [-1, self.codes.shape[2]])
        scores = tf.linalg.matvec(tf.cast(codes, tf.float32), query * self.steps)
        scores = tf.where(numbers >= 0, scores, LOWEST_SCORE)
        places = tf.math.top_k(scores, tf.minimum(fetch, tf.shape(scores)[0])).indices
        # In the order of their numbers, so that the lowest number wins every tie.
        numbers = tf.sort(tf.gather(numbers, places))
        scores = dot_products(tf.gather(self.embeddings, tf.maximum(numbers, 0)), query)
        scores = tf.where(numbers >= 0, scores, LOWEST_SCORE)
        missing = [[0, tf.maximum(width - tf.shape(scores)[0], 0)]]
        scores = tf.pad(scores, missing, constant_values=LOWEST_SCORE)
        numbers = tf.pad(numbers, missing, constant_values=NOTHING)
        scores, places = tf.math.top_k(scores, width)
        return scores, tf.gather(numbers, places)

    def _find_lists_to_search(self, queries: np.ndarray, min_recall: float) -> None:
        """Sets the least number of lists that reaches the recall on the queries."""
        exact = exact_scores(self.embeddings, queries, _TUNED_K)
        tried = 1.0
        while (
            self.num_lists_to_search < self.num_lists
            and index_recall(self, queries, _TUNED_K, exact=exact) < min_recall
        ):
            tried *= _STEP
            self.num_lists_to_search = min(math.ceil(tried), self.num_lists)


def _constant(values: np.ndarray, name: str) -> Any:
    return tf.Variable(values, trainable=False, name=name)


def _sample(rows: np.ndarray, queries: np.ndarray | None, seed: int) -> np.ndarray:
    pool = rows if queries is None or not len(queries) else np.asarray(queries, np.float32)
    draw = np.random.default_rng(seed)
    return pool[draw.choice(len(pool), min(_SAMPLE, len(pool)), replace=False)]


def _check(rows: int, lists: int | None, searched: int | None, min_recall: float) -> None:
    for name, value in (("num_lists", lists), ("num_lists_to_search", searched)):
        if value is not None and value < 1:
            raise UsageError(f"`{name}` must be at least 1, got {value}.")
    if lists is not None and lists > rows:
        raise UsageError(
            f"`num_lists` is {lists}, but there are only {rows} candidates to put into lists. "
            f"Leave it unset, or set it to about {max(1, round(math.sqrt(rows)))}."
        )
    if not 0.0 < min_recall <= 1.0:
        raise UsageError(f"`min_recall` must lie above 0 and up to 1, got {min_recall}.")
