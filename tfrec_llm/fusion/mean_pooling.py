"""The mean of the tokens of a text."""

from __future__ import annotations

from typing import Any

from tfrec_llm.fusion.pooling_layer import PoolingLayer
from tfrec_llm.fusion.visible_tokens import visible_tokens
from tfrec_llm.keras_api import keras


@keras.saving.register_keras_serializable(package="tfrec_llm")
class MeanPooling(PoolingLayer):
    """The mean of the token vectors; padding never counts.

    Sums are taken in float32 whatever the dtype policy: a bfloat16 sum over a long text loses
    the last tokens. A text without tokens gives zeros.

    Call arguments:
        token_embeddings: float `(batch, tokens, dim)`. Whatever stands at padding, even NaN, is
            left out.
        padding_mask: int or bool `(batch, tokens)`, not 0 for a token.

    Returns: float32 `(batch, dim)`.

    Example:
        >>> tokens = keras.ops.array([[[1.0, 2.0], [3.0, 4.0], [9.0, 9.0]]])
        >>> MeanPooling()(tokens, keras.ops.array([[1, 1, 0]])).numpy()
        array([[2., 3.]], dtype=float32)

    Reference: Reimers and Gurevych, 2019, Sentence-BERT, doi:10.18653/v1/D19-1410
    """

    def call(self, token_embeddings: Any, padding_mask: Any) -> Any:
        """Averages over the tokens."""
        tokens, is_token = visible_tokens(token_embeddings, padding_mask)
        num_tokens = keras.ops.sum(keras.ops.cast(is_token, "float32"), axis=1)
        return keras.ops.sum(tokens, axis=1) / keras.ops.maximum(num_tokens, 1.0)[:, None]
