"""Token vectors → one vector for a text."""

from __future__ import annotations

from typing import Any

from tfrec_llm.keras_api import keras


@keras.saving.register_keras_serializable(package="tfrec_llm")
class MeanPooling(keras.layers.Layer):
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
    """

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(autocast=False, **kwargs)

    def build(self, *_: Any) -> None:
        """Makes nothing: there are no weights."""
        self.built = True

    def call(self, token_embeddings: Any, padding_mask: Any) -> Any:
        """Averages over the tokens."""
        is_token = keras.ops.cast(padding_mask, "bool")[..., None]
        token_embeddings = keras.ops.cast(token_embeddings, "float32")
        total = keras.ops.sum(keras.ops.where(is_token, token_embeddings, 0.0), axis=1)
        num_tokens = keras.ops.sum(keras.ops.cast(is_token, "float32"), axis=1)
        return total / keras.ops.maximum(num_tokens, 1.0)

    def compute_output_spec(self, token_embeddings: Any, padding_mask: Any) -> Any:
        """Says that the result is float32 under every dtype policy."""
        shape = (token_embeddings.shape[0], token_embeddings.shape[-1])
        return keras.KerasTensor(shape, dtype="float32")
