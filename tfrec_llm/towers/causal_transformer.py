"""A small causal transformer over item vectors."""

from __future__ import annotations

from typing import Any

from tfrec_llm.keras_api import keras, tf


@keras.saving.register_keras_serializable(package="tfrec_llm")
class CausalSelfAttention(keras.layers.Layer):
    """Multi-head attention of each position to itself and to those before it.

    Distance in time enters as one learned bias a head and age, so an item means the same
    whatever padding stands before it (Shaw et al., 2018, arXiv:1803.02155, in its bias form).

    Args:
        num_heads: int; must divide the width of the input.
        max_length: int, longest distance with a bias of its own.
        dropout: float in [0, 1), on the attention weights. Defaults to 0.

    Call arguments:
        inputs: float32 `(batch, length, dim)`.
        mask: bool `(batch, length)`, True for an item. Masked positions are never attended to,
            except by themselves.
        training: bool, whether drop-out is on.

    Returns: float32 `(batch, length, dim)`.

    Raises: ValueError when `num_heads` does not divide the width.

    Example:
        >>> layer = CausalSelfAttention(num_heads=2, max_length=5)
        >>> layer(keras.ops.ones((1, 3, 4)), keras.ops.ones((1, 3), dtype="bool")).shape
        TensorShape([1, 3, 4])
    """

    def __init__(
        self, num_heads: int, max_length: int, dropout: float = 0.0, **kwargs: Any
    ) -> None:
        super().__init__(**kwargs)
        self.num_heads = num_heads
        self.max_length = max_length
        self.dropout = dropout
        self.drop = keras.layers.Dropout(dropout)

    def build(self, inputs_shape: tuple[int | None, ...], *_: Any) -> None:
        """Makes the projections for inputs of the given width."""
        dim = inputs_shape[-1]
        if dim is None or dim % self.num_heads:
            raise ValueError(
                f"`num_heads` must divide the width of the input, got {self.num_heads} heads for "
                f"a width of {dim}."
            )
        self.project = keras.layers.Dense(3 * dim, name="query_key_value")
        self.project.build((None, None, dim))
        self.merge = keras.layers.Dense(dim, name="merge")
        self.merge.build((None, None, dim))
        self.distance_bias = self.add_weight(
            shape=(self.num_heads, self.max_length), initializer="zeros", name="distance_bias"
        )
        self.built = True

    def call(self, inputs: Any, mask: Any, training: bool = False) -> Any:
        """Attends to the past."""
        batch, length = tf.shape(inputs)[0], tf.shape(inputs)[1]
        head_dim = inputs.shape[-1] // self.num_heads
        split = tf.reshape(self.project(inputs), (batch, length, 3, self.num_heads, head_dim))
        query, key, value = tf.unstack(tf.transpose(split, (2, 0, 3, 1, 4)))
        scores = tf.matmul(query, key, transpose_b=True) * head_dim**-0.5
        age = tf.range(length)[:, None] - tf.range(length)[None, :]
        bias = tf.gather(
            self.distance_bias.value, tf.clip_by_value(age, 0, self.max_length - 1), axis=1
        )
        allowed = (age >= 0) & mask[:, None, None, :] | tf.equal(age, 0)
        scores = tf.where(allowed, scores + tf.cast(bias, scores.dtype), scores.dtype.min)
        weights = self.drop(tf.nn.softmax(scores), training=training)
        context = tf.transpose(tf.matmul(weights, value), (0, 2, 1, 3))
        return self.merge(tf.reshape(context, (batch, length, inputs.shape[-1])))

    def get_config(self) -> dict[str, Any]:
        """Returns the constructor arguments."""
        return {
            **super().get_config(),
            "num_heads": self.num_heads,
            "max_length": self.max_length,
            "dropout": self.dropout,
        }


@keras.saving.register_keras_serializable(package="tfrec_llm")
class CausalTransformer(keras.layers.Layer):
    """Stacks pre-normalised causal self-attention and feed-forward layers.

    Args:
        num_layers: int. Defaults to 1.
        num_heads: int. Defaults to 2.
        max_length: int, longest history. Defaults to 50.
        dropout: float in [0, 1). Defaults to 0.

    Call arguments:
        inputs: float32 `(batch, length, dim)`.
        mask: bool `(batch, length)`, True for an item.
        training: bool, whether drop-out is on.

    Returns: float32 `(batch, length, dim)`; position t sees the inputs up to t only.

    Example:
        >>> layer = CausalTransformer(num_heads=2)
        >>> layer(keras.ops.ones((1, 3, 4)), keras.ops.ones((1, 3), dtype="bool")).shape
        TensorShape([1, 3, 4])

    Reference: Kang & McAuley, 2018, SASRec, arXiv:1808.09781
    """

    def __init__(
        self,
        num_layers: int = 1,
        num_heads: int = 2,
        max_length: int = 50,
        dropout: float = 0.0,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.num_layers = num_layers
        self.num_heads = num_heads
        self.max_length = max_length
        self.dropout = dropout
        self.drop = keras.layers.Dropout(dropout)
        self.attentions = [
            CausalSelfAttention(num_heads, max_length, dropout, name=f"attention_{i}")
            for i in range(num_layers)
        ]
        self.norms = [
            keras.layers.LayerNormalization(epsilon=1e-6, name=f"norm_{i}")
            for i in range(2 * num_layers + 1)
        ]

    def build(self, inputs_shape: tuple[int | None, ...], *_: Any) -> None:
        """Makes the layers for inputs of the given width."""
        dim = int(inputs_shape[-1] or 0)
        self.expands = [
            keras.layers.Dense(2 * dim, activation="gelu", name=f"expand_{i}")
            for i in range(self.num_layers)
        ]
        self.contracts = [
            keras.layers.Dense(dim, name=f"contract_{i}") for i in range(self.num_layers)
        ]
        for layer in [*self.attentions, *self.norms, *self.expands]:
            layer.build((None, None, dim))
        for layer in self.contracts:
            layer.build((None, None, 2 * dim))
        self.built = True

    def call(self, inputs: Any, mask: Any, training: bool = False) -> Any:
        """Runs the stack."""
        hidden = self.drop(inputs, training=training)
        for i in range(self.num_layers):
            attended = self.attentions[i](self.norms[2 * i](hidden), mask, training=training)
            hidden = hidden + self.drop(attended, training=training)
            expanded = self.expands[i](self.norms[2 * i + 1](hidden))
            hidden = hidden + self.drop(self.contracts[i](expanded), training=training)
        return self.norms[-1](hidden)

    def get_config(self) -> dict[str, Any]:
        """Returns the constructor arguments."""
        return {
            **super().get_config(),
            "num_layers": self.num_layers,
            "num_heads": self.num_heads,
            "max_length": self.max_length,
            "dropout": self.dropout,
        }
