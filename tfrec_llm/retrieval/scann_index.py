"""The approximate index, on ScaNN: the only module that imports it."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable
from typing import Any

import numpy as np

from tfrec_llm.errors import MissingPackageError, UsageError
from tfrec_llm.keras_api import tf
from tfrec_llm.retrieval.brute_force_index import search_exactly
from tfrec_llm.retrieval.top_k_index import LOWEST_SCORE, TopKIndex, dot_products, pad_to_k

_EXACT_BELOW = 20_000  # rows; ScaNN's own rule of thumb
_TREE_ABOVE = 100_000
_REORDERED = 300
_MIN_ROWS_TO_HASH = 16  # hashing learns 16 centres a block, and a tree over fewer rows fails


class ScannIndex(TopKIndex):
    """Searches compressed candidates with ScaNN, then scores the best again exactly.

    What ScaNN does follows the size of the corpus, unless it is told otherwise: under 20 000 rows
    it compares with all of them; under 100 000 it compares hashed rows; above, it also looks only
    into the most promising leaves of a tree with about √n leaves. Candidates are scored again from
    the uncompressed embeddings, so scores are exact dot products. Where the leaves searched hold
    fewer than k candidates, the batch is searched exactly: an answer is never shorter than k while
    the corpus has more.

    Args:
        embeddings: float `(num_items, dim)`, one row a candidate, finite.
        num_leaves: int >= 1, leaves of the tree; 1 for no tree. Defaults to the rule above.
        num_leaves_to_search: int >= 1. Defaults to a quarter of the leaves.
        num_reordering_candidates: int >= 1, how many candidates are scored again; twice k where
            that is more. Defaults to 300.
        exact_below: int, rows under which every candidate is compared, unless `num_leaves` is
            given. Defaults to 20 000.
        tree_above: int, rows above which a tree is built. Defaults to 100 000.

    Raises:
        MissingPackageError: when scann is not installed.
        UsageError: when a setting does not fit the number of candidates.

    Example:
        >>> index = ScannIndex(np.eye(3, dtype=np.float32))
        >>> _, numbers = index.search(tf.constant([[0.0, 0.6, 0.8]]), 4)
        >>> numbers.numpy().tolist()
        [[2, 1, 0, -1]]

    Reference: Guo et al., 2020, arXiv:1908.10396
    """

    kind = "scann"

    def __init__(
        self,
        embeddings: np.ndarray,
        num_leaves: int | None = None,
        num_leaves_to_search: int | None = None,
        num_reordering_candidates: int | None = None,
        exact_below: int = _EXACT_BELOW,
        tree_above: int = _TREE_ABOVE,
    ) -> None:
        ops = _import_scann_ops()
        super().__init__(embeddings)
        rows = self.num_items
        _check(rows, num_leaves, num_leaves_to_search, num_reordering_candidates)
        self._options = {
            "num_leaves": num_leaves,
            "num_leaves_to_search": num_leaves_to_search,
            "num_reordering_candidates": num_reordering_candidates,
            "exact_below": exact_below,
            "tree_above": tree_above,
        }
        if num_leaves is None:
            num_leaves = round(math.sqrt(rows)) if rows > tree_above else 1
            hashed = rows >= max(exact_below, _MIN_ROWS_TO_HASH)
        else:
            hashed = rows >= _MIN_ROWS_TO_HASH
        self.num_leaves = num_leaves if hashed else 1
        self.num_leaves_to_search = min(
            num_leaves_to_search or max(1, self.num_leaves // 4), self.num_leaves
        )
        self.num_reordering_candidates = num_reordering_candidates or _REORDERED
        self.is_exact = not hashed

        self._ops = ops
        self._state = _build(ops, np.asarray(embeddings, np.float32), hashed, self.num_leaves)
        if self.is_exact:  # ScaNN reads the candidates themselves: no second copy of them
            self._state["dataset"] = self.embeddings
        name = f"scann_{_fingerprint(self._state)}"
        self._searcher = _Searcher(name, lambda: self._handle(name))

    @property
    def parameters(self) -> dict[str, object]:
        """Returns the settings of this index, for reports."""
        if self.is_exact:
            return super().parameters
        return {
            **super().parameters,
            "num_leaves": self.num_leaves,
            "num_leaves_to_search": self.num_leaves_to_search,
            "num_reordering_candidates": self.num_reordering_candidates,
        }

    @property
    def options(self) -> dict[str, int | None]:
        """Returns the arguments by which the same kind is built; see `TopKIndex.options`."""
        return dict(self._options)

    def search(self, queries: Any, k: Any) -> tuple[Any, Any]:
        """Finds good candidates of each query, best first; see `TopKIndex.search`."""
        queries = tf.cast(queries, tf.float32)
        k = tf.convert_to_tensor(k, tf.int32)
        width = tf.minimum(k, self.num_items)
        if self.is_exact:
            numbers, scores = self._ask(queries, tf.maximum(width, 1), leaves=-1)
            return pad_to_k(*_best(scores, numbers, width), k)

        fetch = tf.minimum(tf.maximum(self.num_reordering_candidates, 2 * k), self.num_items)
        # Enough leaves to hold that many candidates twice over, were they of equal size.
        leaves = tf.cast(tf.math.ceil(2 * fetch / self.num_items * self.num_leaves), tf.int32)
        leaves = tf.clip_by_value(leaves, self.num_leaves_to_search, self.num_leaves)
        numbers, distances = self._ask(queries, fetch, leaves)
        # A row with fewer hits than another is filled with NaN and row 0.
        is_hit = ~tf.math.is_nan(distances)
        candidates = tf.gather(self.embeddings, tf.where(is_hit, numbers, 0))
        scores = tf.where(is_hit, dot_products(candidates, queries), LOWEST_SCORE)
        numbers = tf.where(is_hit, numbers, -1)
        num_hits = tf.reduce_sum(tf.cast(is_hit, tf.int32), axis=1)
        scores, numbers = tf.cond(
            tf.reduce_all(num_hits >= width),
            lambda: pad_to_k(*_best(scores, numbers, width), k),
            lambda: search_exactly(self.embeddings, queries, k, self.first_equal),
        )
        return scores, numbers

    def _ask(self, queries: Any, num_neighbors: Any, leaves: Any) -> tuple[Any, Any]:
        batch = tf.shape(queries)[0]
        # A tree fails on an empty batch; and one query alone is compared by other code, which
        # rounds equal candidates differently. So there are always some, and their answers dropped.
        at_least = 2 if self.is_exact else 1
        queries = tf.pad(queries, [[0, tf.maximum(at_least - batch, 0)], [0, 0]])
        numbers, scores = self._ops.scann_search_batched(
            self._searcher.open(), queries, num_neighbors, -1, leaves, False
        )
        width = [None, None]
        return tf.ensure_shape(numbers, width)[:batch], tf.ensure_shape(scores, width)[:batch]

    def _handle(self, name: str) -> Any:
        state = {key: value for key, value in self._state.items() if key != "dataset"}
        return self._ops.tensors_to_scann(x=self._state["dataset"], **state, shared_name=name)


class _Searcher(tf.saved_model.experimental.TrackableResource):
    """Sees to it that the searcher is made from its variables when a model is loaded.

    ScaNN keeps a searcher under its shared name. The name is made of the contents: all signatures
    of a loaded model use one searcher, and two models never take each other's. Making it at load
    time also keeps two first requests from making it at once. The resource itself is a mere
    marker: what counts is that TensorFlow initialises it.
    """

    def __init__(self, name: str, open_searcher: Callable[[], Any]) -> None:
        super().__init__()
        self._name = name
        self.open = open_searcher
        self._initialize()

    def _create_resource(self) -> Any:
        return tf.raw_ops.VarHandleOp(dtype=tf.bool, shape=[], shared_name=f"{self._name}_marker")

    def _initialize(self) -> None:
        self.open()


def _import_scann_ops() -> Any:
    try:
        from scann import scann_ops
    except ImportError as error:
        raise MissingPackageError("scann", "The ScaNN index", "scann") from error
    return scann_ops


def _check(rows: int, leaves: int | None, searched: int | None, reordered: int | None) -> None:
    for name, value in (
        ("num_leaves", leaves),
        ("num_leaves_to_search", searched),
        ("num_reordering_candidates", reordered),
    ):
        if value is not None and value < 1:
            raise UsageError(f"`{name}` must be at least 1, got {value}.")
    if leaves is not None and leaves > rows:
        raise UsageError(
            f"`num_leaves` is {leaves}, but there are only {rows} candidates to put into leaves. "
            f"Leave it unset, or set it to about {max(1, round(math.sqrt(rows)))}."
        )


def _build(ops: Any, rows: np.ndarray, hashed: bool, num_leaves: int) -> dict[str, Any]:
    """Trains a searcher and returns all it consists of, as variables."""
    builder = ops.builder(rows, 10, "dot_product")
    if not hashed:
        builder = builder.score_brute_force()
    else:
        if num_leaves > 1:  # with one leaf, ScaNN 1.3 answers row 0 to every query
            builder = builder.tree(
                num_leaves, num_leaves, training_sample_size=min(len(rows), _TREE_ABOVE)
            )
        builder = builder.score_ah(min(2, rows.shape[1]), anisotropic_quantization_threshold=0.2)
    tensors = ops.scann_to_tensors(builder.build().searcher_handle)
    with tf.device("CPU:0"):
        return {
            name: tf.Variable(getattr(tensors, name), trainable=False, name=name)
            for name in tensors._fields
            if hashed or name != "dataset"
        }


def _fingerprint(state: dict[str, Any]) -> str:
    digest = hashlib.sha256()
    for name in sorted(state):
        value = np.asarray(state[name])
        parts = value.reshape(-1).tolist() if value.dtype.hasobject else [value.tobytes()]
        for part in (name.encode(), str(value.shape).encode(), *parts):
            digest.update(part)
    return digest.hexdigest()[:32]


def _best(scores: Any, numbers: Any, width: Any) -> tuple[Any, Any]:
    """Returns the `width` best columns, or all of them where there are fewer."""
    width = tf.minimum(width, tf.shape(scores)[1])
    scores, places = tf.math.top_k(scores, width)
    return scores, tf.gather(numbers, places, batch_dims=1)
