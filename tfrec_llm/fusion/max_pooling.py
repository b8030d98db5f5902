"""The largest value of each feature over the tokens of a text."""

from __future__ import annotations

from typing import Any

from tfrec_llm.fusion.pooling_layer import PoolingLayer
from tfrec_llm.fusion.visible_tokens import visible_tokens
from tfrec_llm.keras_api import keras


@keras.saving.register_keras_serializable(package="tfrec_llm")
class MaxPooling(PoolingLayer):
    """The largest value of each feature over the tokens; padding never counts.

    A text without tokens gives zeros.

    Call arguments:
        token_embeddings: float `(batch, tokens, dim)`. Whatever stands at padding, even NaN, is
            left out.
        padding_mask: int or bool `(batch, tokens)`, not 0 for a token.

    Returns: float32 `(batch, dim)`.

    Example:
        >>> tokens = keras.ops.array([[[-1.0, 2.0], [-3.0, 4.0], [9.0, 9.0]]])
        >>> MaxPooling()(tokens, keras.ops.array([[1, 1, 0]])).numpy()
        array([[-1.,  4.]], dtype=float32)

    Reference: Reimers and Gurevych, 2019, Sentence-BERT, doi:10.18653/v1/D19-1410
    """

    def call(self, token_embeddings: Any, padding_mask: Any) -> Any:
        """Takes the maximum over the tokens."""
        tokens, is_token = visible_tokens(token_embeddings, padding_mask)
        lowest = tokens.dtype.min
        seen = keras.ops.where(is_token[..., None], tokens, lowest)
        largest = keras.ops.max(seen, axis=1, initial=lowest)
        has_tokens = keras.ops.any(is_token, axis=1)
        return keras.ops.where(has_tokens[:, None], largest, 0.0)
