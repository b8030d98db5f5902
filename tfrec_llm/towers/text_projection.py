"""Features of a language model → the space of the towers."""

from __future__ import annotations

from typing import Any

import numpy as np

from tfrec_llm.keras_api import keras
from tfrec_llm.towers.unit_length import unit_length


@keras.saving.register_keras_serializable(package="tfrec_llm")
class TextProjection(keras.layers.Layer):
    """Projects text features: a linear map, plus a network that starts at zero.

    The features are brought to unit length and centred on the corpus first, since the vectors of
    a language model share a large common part that says nothing about likeness. The linear
    map is meant to be set by `set_start`; the network learns what a line cannot say. Masks
    are not used. Features that are the common part exactly say nothing and give zeros.

    Args:
        embedding_dim: int, width of the output.
        hidden_dim: int, width of the network. Defaults to 256.
        dropout: float in [0, 1), on the hidden layer of the network. Defaults to 0.

    Call arguments:
        text_features: float32 `(num_texts, feature_dim)`, as a text encoder gives them.
        training: bool, whether drop-out is on.

    Returns: float32 `(num_texts, embedding_dim)`, not of unit length.

    Example:
        >>> TextProjection(2)(keras.ops.ones((3, 8))).shape
        TensorShape([3, 2])
    """

    def __init__(
        self, embedding_dim: int, hidden_dim: int = 256, dropout: float = 0.0, **kwargs: Any
    ) -> None:
        super().__init__(**kwargs)
        self.embedding_dim = embedding_dim
        self.hidden_dim = hidden_dim
        self.dropout = dropout
        self.linear = keras.layers.Dense(embedding_dim, name="linear")
        self.hidden = keras.layers.Dense(hidden_dim, activation="gelu", name="hidden")
        self.drop = keras.layers.Dropout(dropout, name="drop")
        self.residual = keras.layers.Dense(
            embedding_dim, kernel_initializer="zeros", name="residual"
        )

    def build(self, text_features_shape: tuple[int | None, ...]) -> None:
        """Makes the weights for features of the given width."""
        feature_dim = text_features_shape[-1]
        self.centre = self.add_weight(
            shape=(feature_dim,), initializer="zeros", trainable=False, name="centre"
        )
        self.linear.build((None, feature_dim))
        self.hidden.build((None, feature_dim))
        self.residual.build((None, self.hidden_dim))
        self.built = True

    def standardise(self, text_features: Any) -> Any:
        """Returns the features as the linear map sees them: unit length, less the common part."""
        return unit_length(text_features) - self.centre

    def call(self, text_features: Any, training: bool = False) -> Any:
        """Projects text features."""
        features = self.standardise(text_features)
        # About unit variance a column into the network, and a step of its last layer kept small.
        scaled = features * float(text_features.shape[-1]) ** 0.5
        hidden = self.drop(self.hidden(scaled), training=training)
        projected = self.linear(features) + self.residual(hidden) * self.hidden_dim**-0.5
        # Features that are the common part and no more, as those of `encoder.kind: none` all are:
        # an offset learned for them would be the same vector in every user and item.
        says_something = keras.ops.any(features != 0.0, axis=-1, keepdims=True)
        return keras.ops.where(says_something, projected, 0.0)

    def set_start(self, centre: np.ndarray, kernel: np.ndarray, bias: np.ndarray) -> None:
        """Sets the centre and the linear map, as `towers.starts` computes them."""
        self.centre.assign(centre)
        self.linear.kernel.assign(kernel)
        self.linear.bias.assign(bias)

    def get_config(self) -> dict[str, Any]:
        """Returns the constructor arguments."""
        return {
            **super().get_config(),
            "embedding_dim": self.embedding_dim,
            "hidden_dim": self.hidden_dim,
            "dropout": self.dropout,
        }
