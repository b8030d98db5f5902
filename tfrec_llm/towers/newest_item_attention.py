"""Attention of the newest item of a history to those before it."""

from __future__ import annotations

from typing import Any

from tfrec_llm.keras_api import keras, tf


@keras.saving.register_keras_serializable(package="tfrec_llm")
class NewestItemAttention(keras.layers.Layer):
    """Weighs the items of a history by their likeness to the newest one.

    Args:
        dropout: float in [0, 1), on the weights. Defaults to 0.

    Call arguments:
        history: float32 `(batch, length, dim)`, oldest first.
        history_mask: bool `(batch, length)`, True for an item.
        training: bool, whether drop-out is on.

    Returns: float32 `(batch, length, dim)`; at position t the newest item is the one at t.

    Example:
        >>> layer = NewestItemAttention()
        >>> layer(keras.ops.ones((1, 2, 4)), keras.ops.ones((1, 2), dtype="bool")).shape
        TensorShape([1, 2, 4])

    Reference: Zhou et al., 2018, DIN, arXiv:1706.06978
    """

    def __init__(self, dropout: float = 0.0, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.dropout = dropout
        self.drop = keras.layers.Dropout(dropout)

    def build(self, history_shape: tuple[int | None, ...], *_: Any) -> None:
        """Makes the projections for item vectors of the given width."""
        dim = history_shape[-1]
        self.query = keras.layers.Dense(dim, name="query")
        self.key = keras.layers.Dense(dim, name="key")
        self.query.build((None, None, dim))
        self.key.build((None, None, dim))
        self.built = True

    def call(self, history: Any, history_mask: Any, training: bool = False) -> Any:
        """Attends from each position to those before it."""
        scores = tf.matmul(self.query(history), self.key(history), transpose_b=True)
        scores *= float(history.shape[-1]) ** -0.5
        length = tf.shape(history)[1]
        age = tf.range(length)[:, None] - tf.range(length)[None, :]
        allowed = (age >= 0) & history_mask[:, None, :] | tf.equal(age, 0)
        weights = tf.nn.softmax(tf.where(allowed, scores, scores.dtype.min))
        return tf.matmul(self.drop(weights, training=training), history)

    def get_config(self) -> dict[str, Any]:
        """Returns the constructor arguments."""
        return {**super().get_config(), "dropout": self.dropout}
