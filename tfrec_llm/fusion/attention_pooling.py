"""Attention of learned queries to the tokens of a text."""

from __future__ import annotations

from typing import Any

from tfrec_llm.fusion.masked_softmax import masked_softmax
from tfrec_llm.fusion.pooling_layer import PoolingLayer
from tfrec_llm.fusion.visible_tokens import visible_tokens
from tfrec_llm.keras_api import keras, tf


@keras.saving.register_keras_serializable(package="tfrec_llm")
class AttentionPooling(PoolingLayer):
    """Attention pooling: each head has a learned query and pools its share of the features.

    The features are cut into `num_heads` equal shares. A head scores every token by the scaled
    dot product of its query with the whole token vector (so the query is that of multi-head
    attention with the key projection folded in), and averages its share by the softmax of the
    scores. Queries start at zero, so the layer starts as the mean. A text without tokens gives
    zeros.

    Args:
        num_heads: int >= 1, a divisor of the width of the token vectors. Defaults to 4.

    Call arguments:
        token_embeddings: float `(batch, tokens, dim)`. Whatever stands at padding, even NaN, is
            left out.
        padding_mask: int or bool `(batch, tokens)`, not 0 for a token.

    Returns: float32 `(batch, dim)`.

    Raises: ValueError when `num_heads` is below 1 or does not divide the width.

    Example:
        >>> tokens = keras.ops.array([[[1.0, 2.0], [3.0, 4.0], [9.0, 9.0]]])
        >>> AttentionPooling(num_heads=2)(tokens, keras.ops.array([[1, 1, 0]])).numpy()
        array([[2., 3.]], dtype=float32)

    Reference: Lin et al., 2017, A structured self-attentive sentence embedding, arXiv:1703.03130
    """

    def __init__(self, num_heads: int = 4, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        if num_heads < 1:
            raise ValueError(f"`num_heads` must be at least 1, got {num_heads!r}.")
        self.num_heads = num_heads

    def build(self, token_embeddings_shape: tuple[int | None, ...], *_: Any) -> None:
        """Makes the queries for token vectors of the given width."""
        dim = token_embeddings_shape[-1]
        if dim is None or dim % self.num_heads:
            raise ValueError(
                f"Attention pooling with {self.num_heads} heads needs token vectors whose width is "
                f"a multiple of {self.num_heads}, got {dim!r}. Set encoder.pooling_heads "
                "(`num_heads`) to a divisor of the width."
            )
        self.query = self.add_weight(
            shape=(dim, self.num_heads),
            initializer="zeros",
            dtype="float32",
            autocast=False,
            name="query",
        )
        self.built = True

    def call(self, token_embeddings: Any, padding_mask: Any) -> Any:
        """Attends to the tokens."""
        tokens, is_token = visible_tokens(token_embeddings, padding_mask)
        dim = int(self.query.shape[0])
        scores = tf.einsum("btf,fh->bht", tokens, self.query.value) * dim**-0.5
        weights = masked_softmax(scores, is_token[:, None, :])
        batch, num_tokens = tf.shape(tokens)[0], tf.shape(tokens)[1]
        shares = tf.reshape(tokens, (batch, num_tokens, self.num_heads, dim // self.num_heads))
        return tf.reshape(tf.einsum("bht,bthd->bhd", weights, shares), (batch, dim))

    def get_config(self) -> dict[str, Any]:
        """Returns the constructor arguments."""
        return {**super().get_config(), "num_heads": self.num_heads}
