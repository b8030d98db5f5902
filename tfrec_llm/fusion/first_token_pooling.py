"""The first token of a text, such as [CLS]."""

from __future__ import annotations

from typing import Any

from tfrec_llm.fusion.pooling_layer import PoolingLayer
from tfrec_llm.fusion.visible_tokens import visible_tokens
from tfrec_llm.keras_api import keras


@keras.saving.register_keras_serializable(package="tfrec_llm")
class FirstTokenPooling(PoolingLayer):
    """The vector of the first token that is not padding.

    In models of the BERT kind that is [CLS], which pre-training taught to speak for the whole
    text; in a causal model the first token has seen nothing but itself. A text without tokens
    gives zeros.

    Call arguments:
        token_embeddings: float `(batch, tokens, dim)`. Whatever stands at padding, even NaN, is
            left out.
        padding_mask: int or bool `(batch, tokens)`, not 0 for a token.

    Returns: float32 `(batch, dim)`.

    Example:
        >>> tokens = keras.ops.array([[[1.0, 2.0], [3.0, 4.0], [9.0, 9.0]]])
        >>> FirstTokenPooling()(tokens, keras.ops.array([[0, 1, 1]])).numpy()
        array([[3., 4.]], dtype=float32)

    Reference: Devlin et al., 2019, BERT, doi:10.18653/v1/N19-1423
    """

    def call(self, token_embeddings: Any, padding_mask: Any) -> Any:
        """Picks the first token."""
        tokens, is_token = visible_tokens(token_embeddings, padding_mask)
        place = keras.ops.cumsum(keras.ops.cast(is_token, "int32"), axis=1)
        is_first = keras.ops.logical_and(is_token, place == 1)
        return keras.ops.sum(keras.ops.where(is_first[..., None], tokens, 0.0), axis=1)
