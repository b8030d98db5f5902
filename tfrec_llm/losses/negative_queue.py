"""Candidates of the last steps, which go on serving as negatives."""

from __future__ import annotations

from typing import Any

from tfrec_llm.keras_api import keras, tf

NO_CANDIDATE = -1


@keras.saving.register_keras_serializable(package="tfrec_llm")
class NegativeQueue(keras.layers.Layer):
    """Keeps candidate embeddings of past steps, first in, first out.

    Each slot keeps the logarithm of the chance with which it was filled, for the logQ correction.
    No gradient flows into what is kept, which is as old as the queue is long: with an item tower
    that moves slowly many steps serve, with one that moves fast few do. All of it lies in
    non-trainable variables, so that a training that is resumed goes on with the same queue.

    Args:
        size: int ≥ 1, slots.
        embedding_dim: int ≥ 1.

    Raises: ValueError when a size is below 1.

    Example:
        >>> queue = NegativeQueue(size=2, embedding_dim=1)
        >>> queue.push(tf.ones((1, 1)), tf.constant([7]), tf.constant([-0.5]))
        >>> embeddings, candidate_ids, log_probability = queue.entries()
        >>> candidate_ids.numpy().tolist()
        [7, -1]

    Reference: Wang et al., 2021, arXiv:2110.15154
    """

    def __init__(self, size: int, embedding_dim: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        for name, value in (("size", size), ("embedding_dim", embedding_dim)):
            if value < 1:
                raise ValueError(f"`{name}` must be at least 1, got {value!r}.")
        self.size = size
        self.embedding_dim = embedding_dim
        self.embeddings = self._slots("embeddings", (size, embedding_dim), "zeros")
        self.candidate_ids = self._slots(
            "candidate_ids", (size,), keras.initializers.Constant(NO_CANDIDATE), "int32"
        )
        self.log_probability = self._slots("log_probability", (size,), "zeros")
        self.next_slot = self._slots("next_slot", (), "zeros", "int32")
        self.built = True

    def entries(self) -> tuple[Any, Any, Any]:
        """Returns all slots, those that were never filled too.

        Returns:
            embeddings: float32 `(size, embedding_dim)`.
            candidate_ids: int32 `(size,)`, -1 for an empty slot.
            log_probability: float32 `(size,)`.
        """
        return (
            tf.stop_gradient(tf.convert_to_tensor(self.embeddings.value)),
            tf.convert_to_tensor(self.candidate_ids.value),
            tf.convert_to_tensor(self.log_probability.value),
        )

    def push(self, embeddings: Any, candidate_ids: Any, log_probability: Any) -> None:
        """Puts candidates in the place of the oldest.

        Of more candidates than there are slots, as many are kept, spread evenly over them, so that
        positives and uniform draws stay in proportion. One of several replicas writes its own copy
        of the queue; since all of them put the same into it, the copies stay the same.

        Args:
            embeddings: float32 `(num_candidates, embedding_dim)`.
            candidate_ids: int32 `(num_candidates,)`, 0 or above.
            log_probability: float32 `(num_candidates,)`, log of the chance that a slot of this
                step holds the candidate.
        """
        num_candidates = tf.shape(candidate_ids)[0]
        num_kept = tf.minimum(num_candidates, self.size)
        kept = tf.range(num_kept, dtype=tf.int32)
        spread = tf.cast(kept, tf.int64) * tf.cast(num_candidates, tf.int64)
        rows = spread // tf.cast(tf.maximum(num_kept, 1), tf.int64)
        begin = tf.convert_to_tensor(self.next_slot.value)
        slots = ((begin + kept) % self.size)[:, None]
        for variable, values in (
            (self.embeddings, tf.stop_gradient(embeddings)),
            (self.candidate_ids, tf.cast(candidate_ids, tf.int32)),
            (self.log_probability, tf.stop_gradient(log_probability)),
        ):
            tf.raw_ops.ResourceScatterNdUpdate(
                ref=variable.value.handle, indices=slots, updates=tf.gather(values, rows)
            )
        tf.raw_ops.AssignVariableOp(
            resource=self.next_slot.value.handle, value=(begin + num_kept) % self.size
        )

    def get_config(self) -> dict[str, Any]:
        """Returns the constructor arguments."""
        return {
            **super().get_config(),
            "size": self.size,
            "embedding_dim": self.embedding_dim,
        }

    def _slots(
        self, name: str, shape: tuple[int, ...], initializer: Any, dtype: str = "float32"
    ) -> Any:
        return self.add_weight(
            shape=shape, initializer=initializer, dtype=dtype, trainable=False, name=name
        )
