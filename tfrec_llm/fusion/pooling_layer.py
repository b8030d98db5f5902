"""What every pooling of the tokens of a text has in common."""

from __future__ import annotations

from typing import Any

from tfrec_llm.keras_api import keras


class PoolingLayer(keras.layers.Layer):
    """A layer from the token vectors of a text to one vector as wide as they are.

    Inputs are not cast and sums are taken in float32 whatever the dtype policy: a bfloat16 sum
    over a long text loses the last tokens. A text without tokens gives zeros, and whatever stands
    at padding, even NaN, is left out.

    Args:
        kwargs: `name`, `dtype` and the like, of every Keras layer.
    """

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(autocast=False, **kwargs)

    def build(self, *_: Any) -> None:
        """Makes nothing: there are no weights."""
        self.built = True

    def compute_output_shape(
        self, token_embeddings_shape: tuple[int | None, ...], *_: Any
    ) -> tuple[int | None, ...]:
        """Returns `(batch, dim)` for `(batch, tokens, dim)`."""
        return (token_embeddings_shape[0], token_embeddings_shape[-1])

    def compute_output_spec(self, token_embeddings: Any, *_: Any, **__: Any) -> Any:
        """Says that the result is float32 under every dtype policy."""
        shape = self.compute_output_shape(token_embeddings.shape)
        return keras.KerasTensor(shape, dtype="float32")
