"""Joins what an index found with the neighbours of the history, exactly, in the graph."""

from __future__ import annotations

from typing import Any

import numpy as np

from tfrec_llm.keras_api import tf
from tfrec_llm.neighbours.neighbour_table import NeighbourTable
from tfrec_llm.retrieval.top_k_index import LOWEST_SCORE, NOTHING, dot_products, pad_to_k


class AddNeighbours(tf.Module):
    """Adds a `NeighbourTable` to the scores of an index, whatever way the index searches.

    The best of (dot product + what neighbours add) is either among the best dot products or a
    neighbour of the history, so both together hold the whole answer: with an exact index it is
    the exact one.

    Args:
        table: `NeighbourTable`.

    Example:
        >>> near, weights = np.array([[2], [-1], [-1]]), np.array([[1.0], [0.0], [0.0]])
        >>> table = NeighbourTable(near, weights, decay=1.0)
        >>> embeddings = tf.constant([[1.0], [0.9], [0.6]])
        >>> found = tf.constant([[1.0, 0.9]]), tf.constant([[0, 1]])
        >>> query, history = tf.constant([[1.0]]), tf.constant([[0]])
        >>> scores, numbers = AddNeighbours(table)(*found, query, history, embeddings)
        >>> numbers.numpy().tolist(), scores.numpy().round(1).tolist()
        ([[2, 0]], [[1.600000023841858, 1.0]])
    """

    def __init__(self, table: NeighbourTable) -> None:
        super().__init__(name="add_neighbours")
        self.decay = float(table.decay)
        self.numbers = tf.Variable(
            np.asarray(table.numbers, np.int32), trainable=False, name="neighbour_numbers"
        )
        self.weights = tf.Variable(
            np.asarray(table.weights, np.float32), trainable=False, name="neighbour_weights"
        )

    @property
    def num_items(self) -> int:
        """Returns how many items have a row of neighbours."""
        return int(self.numbers.shape[0])

    @property
    def width(self) -> int:
        """Returns how many neighbours an item has at most."""
        return int(self.numbers.shape[1])

    def __call__(
        self, scores: Any, numbers: Any, queries: Any, history: Any, embeddings: Any
    ) -> tuple[Any, Any]:
        """Returns the best of both, best first.

        Args:
            scores: float32 `(batch, found)`, dot products, best first.
            numbers: int32 `(batch, found)`, item numbers, -1 for nothing.
            queries: float32 `(batch, dim)`.
            history: int32 `(batch, length)`, item numbers, oldest first, -1 for nothing.
            embeddings: float32 `(num_items, dim)`.

        Returns: scores float32 `(batch, found)` and numbers int32 `(batch, found)`; the lowest
            finite float32 and -1 where there is nothing.
        """
        found = tf.shape(numbers)[1]
        batch = tf.shape(numbers)[0]
        near = tf.gather(self.numbers, tf.maximum(history, 0))
        added = tf.gather(self.weights, tf.maximum(history, 0))
        added *= self._age_weights(history)[:, :, None]
        near = tf.where((history >= 0)[:, :, None], near, NOTHING)
        all_numbers = tf.concat([numbers, tf.reshape(near, [batch, -1])], axis=1)
        all_added = tf.concat([tf.zeros_like(scores), tf.reshape(added, [batch, -1])], axis=1)

        # The same item stands in several places: sum up what it gets, and keep its first place.
        order = tf.argsort(all_numbers, axis=1, stable=True)
        ordered = tf.gather(all_numbers, order, batch_dims=1)
        ordered_added = tf.gather(all_added, order, batch_dims=1)
        before = tf.pad(ordered[:, :-1], [[0, 0], [1, 0]], constant_values=NOTHING)
        is_first = tf.not_equal(ordered, before)
        width = tf.shape(ordered)[1]
        group = tf.cumsum(tf.cast(is_first, tf.int32), axis=1)
        group += (width + 1) * tf.range(batch)[:, None]
        totals = tf.math.unsorted_segment_sum(
            tf.reshape(ordered_added, [-1]), tf.reshape(group, [-1]), batch * (width + 1)
        )
        total = tf.gather(totals, group)

        def dot(row: tuple[Any, Any]) -> Any:  # a row at a time: vectors of thousands of items
            return dot_products(tf.gather(embeddings, tf.maximum(row[0], 0)), row[1])

        # A map over no row knows no shape: an empty one stands in, and is cut off.
        stand_in = [[0, tf.maximum(1 - batch, 0)], [0, 0]]
        rows = tf.pad(ordered, stand_in), tf.pad(queries, stand_in)
        products = tf.map_fn(dot, rows, fn_output_signature=tf.float32)[:batch]
        whole = tf.where(is_first & (ordered >= 0), products + total, LOWEST_SCORE)
        best, places = tf.math.top_k(whole, found)
        best_numbers = tf.gather(ordered, places, batch_dims=1)
        best_numbers = tf.where(best > LOWEST_SCORE, best_numbers, NOTHING)
        return pad_to_k(best, best_numbers, found)

    def _age_weights(self, history: Any) -> Any:
        """Returns `decay ** age` of the items of each history, adding up to 1."""
        is_known = tf.cast(history >= 0, tf.float32)
        age = tf.cumsum(is_known, axis=1, exclusive=True, reverse=True)
        weights = is_known * tf.pow(self.decay, age)
        return tf.math.divide_no_nan(weights, tf.reduce_sum(weights, axis=1, keepdims=True))
