"""Item numbers → learned vectors; an unknown item gives zeros."""

from __future__ import annotations

from typing import Any

import numpy as np

from tfrec_llm.keras_api import keras, tf


@keras.saving.register_keras_serializable(package="tfrec_llm")
class IdEmbedding(keras.layers.Layer):
    """Looks up one learned vector for each item, and drops whole items in training.

    A dropped item is left to its text for one step. That keeps the text part alone good enough
    for new items, and keeps the ids from over-fitting (DropoutNet, Volkovs et al., 2017).
    Vectors are not rescaled after a drop: they are added to the text part, not averaged.

    Most items turn up in few steps, and an optimiser such as Adam makes steps of one size for all
    weights. So the table holds the vectors divided by `rate`: a step of the optimiser, and what it
    takes as negligible, then count that many times for the vectors.

    Args:
        num_items: int ≥ 1.
        embedding_dim: int, width of the output.
        dropout: float in [0, 1), share of the items dropped in a step. Defaults to 0.
        seed: int, of the drops. Defaults to 0.
        rate: float > 0, how many times as fast as other weights the vectors learn. Defaults to 1.

    Call arguments:
        item_numbers: int32 `(num_lookups,)`; negative for an unknown item.
        training: bool, whether items are dropped.

    Returns: float32 `(num_lookups, embedding_dim)`, zeros for unknown and dropped items.

    Raises: ValueError when the rate is not above 0.

    Example:
        >>> IdEmbedding(3, 2)(keras.ops.array([-1])).numpy().tolist()
        [[0.0, 0.0]]
    """

    def __init__(
        self,
        num_items: int,
        embedding_dim: int,
        dropout: float = 0.0,
        seed: int = 0,
        rate: float = 1.0,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        if rate <= 0.0:
            raise ValueError(f"`rate` must be above 0, got {rate!r}.")
        self.num_items = num_items
        self.embedding_dim = embedding_dim
        self.dropout = dropout
        self.seed = seed
        self.rate = rate
        self.seed_generator = keras.random.SeedGenerator(seed)

    def build(self, item_numbers_shape: tuple[int | None, ...] | None = None) -> None:
        """Makes the table; it starts at zero, that is, at the text alone."""
        self.table = self.add_weight(
            shape=(self.num_items, self.embedding_dim), initializer="zeros", name="table"
        )
        self.built = True

    def set_vectors(self, vectors: np.ndarray) -> None:
        """Sets all vectors, float32 `(num_items, embedding_dim)`."""
        self.table.assign(np.asarray(vectors, np.float32) / np.float32(self.rate))

    def call(self, item_numbers: Any, training: bool = False) -> Any:
        """Looks up item numbers."""
        rows = tf.gather(self.table.value, tf.maximum(item_numbers, 0)) * self.rate
        keep = tf.cast(item_numbers >= 0, rows.dtype)
        if training and self.dropout > 0.0:
            drawn = keras.random.uniform(tf.shape(item_numbers), seed=self.seed_generator)
            keep *= tf.cast(drawn >= self.dropout, rows.dtype)
        return rows * keep[:, None]

    def get_config(self) -> dict[str, Any]:
        """Returns the constructor arguments."""
        return {
            **super().get_config(),
            "num_items": self.num_items,
            "embedding_dim": self.embedding_dim,
            "dropout": self.dropout,
            "seed": self.seed,
            "rate": self.rate,
        }
