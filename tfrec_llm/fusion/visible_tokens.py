"""Token vectors with nothing at padding."""

from __future__ import annotations

from typing import Any

from tfrec_llm.keras_api import keras


def visible_tokens(token_embeddings: Any, padding_mask: Any) -> tuple[Any, Any]:
    """Returns the token vectors in float32 with zeros at padding, and the mask as bool.

    Args:
        token_embeddings: float `(batch, tokens, dim)`; padding may hold anything, even NaN.
        padding_mask: int or bool `(batch, tokens)`, not 0 for a token.

    Returns: float32 `(batch, tokens, dim)`, bool `(batch, tokens)`.

    Example:
        >>> tokens, mask = visible_tokens([[[1.0], [float("nan")]]], [[1, 0]])
        >>> tokens.numpy().tolist(), mask.numpy().tolist()
        ([[[1.0], [0.0]]], [[True, False]])
    """
    is_token = keras.ops.cast(padding_mask, "bool")
    token_embeddings = keras.ops.cast(token_embeddings, "float32")
    return keras.ops.where(is_token[..., None], token_embeddings, 0.0), is_token
