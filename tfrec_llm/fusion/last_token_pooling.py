"""The last token of a text."""

from __future__ import annotations

from typing import Any

from tfrec_llm.fusion.pooling_layer import PoolingLayer
from tfrec_llm.fusion.visible_tokens import visible_tokens
from tfrec_llm.keras_api import keras


@keras.saving.register_keras_serializable(package="tfrec_llm")
class LastTokenPooling(PoolingLayer):
    """The vector of the last token that is not padding.

    The natural choice for causal models (GPT-2, Gemma, Qwen), whose last token alone has seen the
    whole text. A text without tokens gives zeros.

    Call arguments:
        token_embeddings: float `(batch, tokens, dim)`. Whatever stands at padding, even NaN, is
            left out.
        padding_mask: int or bool `(batch, tokens)`, not 0 for a token.

    Returns: float32 `(batch, dim)`.

    Example:
        >>> tokens = keras.ops.array([[[1.0, 2.0], [3.0, 4.0], [9.0, 9.0]]])
        >>> LastTokenPooling()(tokens, keras.ops.array([[1, 1, 0]])).numpy()
        array([[3., 4.]], dtype=float32)

    Reference: Neelakantan et al., 2022, arXiv:2201.10005
    """

    def call(self, token_embeddings: Any, padding_mask: Any) -> Any:
        """Picks the last token."""
        tokens, is_token = visible_tokens(token_embeddings, padding_mask)
        counts = keras.ops.cast(is_token, "int32")
        place = keras.ops.cumsum(counts, axis=1)
        num_tokens = keras.ops.sum(counts, axis=1, keepdims=True)
        is_last = keras.ops.logical_and(is_token, place == num_tokens)
        return keras.ops.sum(keras.ops.where(is_last[..., None], tokens, 0.0), axis=1)
