"""A weighted mean of the tokens of a text, with learned weights."""

from __future__ import annotations

from typing import Any

from tfrec_llm.fusion.masked_softmax import masked_softmax
from tfrec_llm.fusion.pooling_layer import PoolingLayer
from tfrec_llm.fusion.visible_tokens import visible_tokens
from tfrec_llm.keras_api import keras, tf


@keras.saving.register_keras_serializable(package="tfrec_llm")
class WeightedPooling(PoolingLayer):
    """The mean of the token vectors, weighted by the softmax of a learned linear score.

    The score starts at zero, so the layer starts as the mean. A text without tokens gives zeros.

    Call arguments:
        token_embeddings: float `(batch, tokens, dim)`. Whatever stands at padding, even NaN, is
            left out.
        padding_mask: int or bool `(batch, tokens)`, not 0 for a token.

    Returns: float32 `(batch, dim)`.

    Example:
        >>> tokens = keras.ops.array([[[1.0, 2.0], [3.0, 4.0], [9.0, 9.0]]])
        >>> WeightedPooling()(tokens, keras.ops.array([[1, 1, 0]])).numpy()
        array([[2., 3.]], dtype=float32)

    Reference: Lin et al., 2017, A structured self-attentive sentence embedding, arXiv:1703.03130
    """

    def build(self, token_embeddings_shape: tuple[int | None, ...], *_: Any) -> None:
        """Makes the score for token vectors of the given width."""
        self.scorer = self.add_weight(
            shape=(token_embeddings_shape[-1],),
            initializer="zeros",
            dtype="float32",
            autocast=False,
            name="scorer",
        )
        self.built = True

    def call(self, token_embeddings: Any, padding_mask: Any) -> Any:
        """Averages over the tokens."""
        tokens, is_token = visible_tokens(token_embeddings, padding_mask)
        weights = masked_softmax(tf.linalg.matvec(tokens, self.scorer.value), is_token)
        return keras.ops.sum(tokens * weights[..., None], axis=1)
