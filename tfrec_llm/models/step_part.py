"""Which part of a training step is computed here: all of it, or that of one of several replicas."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from tfrec_llm.keras_api import tf


class WholeStep:
    """All of a step, in one place.

    Example:
        >>> WholeStep().rows(tf.constant([4, 5])).numpy().tolist()
        [4, 5]
    """

    def rows(self, rows: Any) -> Any:
        """Returns the rows of a batch that are computed here."""
        return rows

    def queries(self, places: Any, num_rows: Any) -> tuple[Any, Any | None]:
        """Returns the queries that are computed here, and where their positives stand.

        Args:
            places: int64 `(num_queries, 2)`, row of the batch and position of each query.
            num_rows: int32 scalar, rows of the batch.

        Returns:
            places: int64 `(num_own, 2)`, rows counted from the first one of `rows`.
            labels: int32 `(num_own,)`, number of each among all queries; None for all of them.
        """
        return places, None

    def labels(self, num_queries: Any) -> Any | None:
        """Returns the numbers of the queries that `rows` takes of so many; None for all."""
        return None

    def embed(self, function: Callable[..., Any], inputs: Sequence[Any]) -> Any:
        """Returns `function(*inputs)`, a row for each row of the inputs."""
        return function(*inputs)


class ReplicaPart(WholeStep):
    """What one of several replicas computes of a step whose integers all of them have.

    Rows of users are cut into as many runs as there are replicas. So are the items of the step,
    each of which is embedded by one replica and given to all others: every query then meets every
    candidate of the step, as in a single process. The losses of the replicas are shares of one
    mean, and their gradients are to be summed.

    Args:
        replica: int32 scalar, number of the replica.
        num_replicas: int ≥ 1.
        gather: float32 `(n, …)` of each replica → `(num_replicas * n, …)`, differentiable.

    Example:
        >>> part = ReplicaPart(1, 2, gather=lambda own: tf.concat([own, own], axis=0))
        >>> part.rows(tf.constant([4, 5, 6])).numpy().tolist()
        [5, 6]
        >>> part.labels(3).numpy().tolist()
        [1, 2]
    """

    def __init__(self, replica: Any, num_replicas: int, gather: Callable[[Any], Any]) -> None:
        self._replica = replica
        self._num_replicas = num_replicas
        self._gather = gather

    def rows(self, rows: Any) -> Any:
        """Returns the rows of a batch that are computed here; they may be none."""
        begin, end = self._bounds(tf.shape(rows)[0])
        return rows[begin:end]

    def queries(self, places: Any, num_rows: Any) -> tuple[Any, Any | None]:
        """Returns the queries of the own rows, and where their positives stand."""
        begin, end = (tf.cast(bound, places.dtype) for bound in self._bounds(num_rows))
        is_own = (places[:, 0] >= begin) & (places[:, 0] < end)
        own = tf.boolean_mask(places, is_own)
        labels = tf.cast(tf.where(is_own)[:, 0], tf.int32)
        return own - tf.stack([begin, tf.zeros_like(begin)]), labels

    def labels(self, num_queries: Any) -> Any | None:
        """Returns the numbers of the queries that `rows` takes of so many."""
        return tf.range(*self._bounds(num_queries))

    def embed(self, function: Callable[..., Any], inputs: Sequence[Any]) -> Any:
        """Returns `function(*inputs)`, of which each replica computes a part."""
        num_rows = tf.shape(inputs[0])[0]
        size = -(-num_rows // self._num_replicas)  # equal parts: the last row fills up the last one
        own = tf.minimum(tf.range(size) + self._replica * size, num_rows - 1)
        part = function(*(tf.gather(tensor, own) for tensor in inputs))
        gathered = tf.ensure_shape(self._gather(part), [None, *part.shape[1:]])
        return gathered[:num_rows]

    def _bounds(self, num_rows: Any) -> tuple[Any, Any]:
        begin = num_rows * self._replica // self._num_replicas
        return begin, num_rows * (self._replica + 1) // self._num_replicas
