"""An LSTM or GRU that reads the tokens of a text."""

from __future__ import annotations

from typing import Any

from tfrec_llm.fusion.pooling_layer import PoolingLayer
from tfrec_llm.fusion.visible_tokens import visible_tokens
from tfrec_llm.keras_api import keras, tf

KINDS = ("lstm", "gru")


@keras.saving.register_keras_serializable(package="tfrec_llm")
class RecurrentPooling(PoolingLayer):
    """The mean of the token vectors, plus what a recurrent network makes of them in their order.

    The network reads the tokens from left to right and skips padding, wherever it stands. Its
    last output goes through a linear map that starts at zero, so the layer starts as the mean. A
    text without tokens gives zeros.

    Args:
        kind: `lstm` or `gru`. Defaults to `lstm`.
        units: int >= 1, width of the network. Defaults to 128.

    Call arguments:
        token_embeddings: float `(batch, tokens, dim)`. Whatever stands at padding, even NaN, is
            left out.
        padding_mask: int or bool `(batch, tokens)`, not 0 for a token.

    Returns: float32 `(batch, dim)`.

    Raises: ValueError when `kind` is neither, or `units` is below 1.

    Example:
        >>> tokens = keras.ops.array([[[1.0, 2.0], [3.0, 4.0], [9.0, 9.0]]])
        >>> RecurrentPooling("gru", units=3)(tokens, keras.ops.array([[1, 1, 0]])).numpy()
        array([[2., 3.]], dtype=float32)

    Reference: Conneau et al., 2017, InferSent, doi:10.18653/v1/D17-1070
    """

    def __init__(self, kind: str = "lstm", units: int = 128, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        if kind not in KINDS:
            raise ValueError(f"`kind` must be one of {', '.join(KINDS)}, got {kind!r}.")
        if units < 1:
            raise ValueError(f"`units` must be at least 1, got {units!r}.")
        self.kind = kind
        self.units = units
        # On a GPU Keras would take cuDNN, which wants all padding on the right.
        layer = keras.layers.LSTM if kind == "lstm" else keras.layers.GRU
        self.network = layer(units, use_cudnn=False, dtype="float32", name=kind)

    def build(self, token_embeddings_shape: tuple[int | None, ...], *_: Any) -> None:
        """Makes the network for token vectors of the given width."""
        dim = token_embeddings_shape[-1]
        self.network.build((None, None, dim))
        # Without a bias: a text without tokens stays at zero.
        self.residual = keras.layers.Dense(
            dim, use_bias=False, kernel_initializer="zeros", dtype="float32", name="residual"
        )
        self.residual.build((None, self.units))
        self.built = True

    def call(self, token_embeddings: Any, padding_mask: Any) -> Any:
        """Averages over the tokens, and reads them."""
        tokens, is_token = visible_tokens(token_embeddings, padding_mask)
        num_tokens = keras.ops.sum(keras.ops.cast(is_token, "float32"), axis=1)
        mean = keras.ops.sum(tokens, axis=1) / keras.ops.maximum(num_tokens, 1.0)[:, None]
        # A recurrent layer of Keras reads neither a batch of no rows nor texts of no length: one
        # masked row and step more.
        tokens = tf.pad(tokens, [[0, 1], [0, 1], [0, 0]])
        is_token = tf.pad(is_token, [[0, 1], [0, 1]])
        return mean + self.residual(self.network(tokens, mask=is_token)[:-1])

    def get_config(self) -> dict[str, Any]:
        """Returns the constructor arguments."""
        return {**super().get_config(), "kind": self.kind, "units": self.units}
