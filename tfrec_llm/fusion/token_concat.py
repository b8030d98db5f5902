"""The tokens of a user and those of an item as one sequence."""

from __future__ import annotations

from typing import Any

from tfrec_llm.fusion.visible_tokens import visible_tokens
from tfrec_llm.keras_api import keras, tf


@keras.saving.register_keras_serializable(package="tfrec_llm")
class TokenConcat(keras.layers.Layer):
    """Joins the tokens of a user and of an item, each with a learned mark of its side.

    The marks are added to the tokens of their side and start at zero. Inputs are not cast and the
    result is float32 whatever the dtype policy.

    Call arguments:
        user_tokens: float `(batch, U, dim)`. Whatever stands at padding, even NaN, is left out.
        user_mask: int or bool `(batch, U)`, not 0 for a token.
        item_tokens: float `(batch, I, dim)`.
        item_mask: int or bool `(batch, I)`.

    Returns: tokens float32 `(batch, U + I, dim)`, the user's first, zeros at padding; and their
        mask, bool `(batch, U + I)`.

    Example:
        >>> user, item = keras.ops.array([[[1.0], [9.0]]]), keras.ops.array([[[2.0]]])
        >>> masks = keras.ops.array([[1, 0]]), keras.ops.array([[1]])
        >>> tokens, mask = TokenConcat()(user, masks[0], item, masks[1])
        >>> tokens.numpy().ravel().tolist(), mask.numpy().tolist()
        ([1.0, 0.0, 2.0], [[True, False, True]])

    Reference: the segment embeddings of Devlin et al., 2019, BERT, doi:10.18653/v1/N19-1423
    """

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(autocast=False, **kwargs)

    def build(self, user_tokens_shape: tuple[int | None, ...], *_: Any) -> None:
        """Makes the marks for tokens of the given width."""
        self.sides = self.add_weight(
            shape=(2, user_tokens_shape[-1]),
            initializer="zeros",
            dtype="float32",
            autocast=False,
            name="sides",
        )
        self.built = True

    def call(self, user_tokens: Any, user_mask: Any, item_tokens: Any, item_mask: Any) -> Any:
        """Joins the two sides."""
        user_tokens, user_mask = visible_tokens(user_tokens, user_mask)
        item_tokens, item_mask = visible_tokens(item_tokens, item_mask)
        sides = self.sides.value
        user_tokens = tf.where(user_mask[..., None], user_tokens + sides[0], 0.0)
        item_tokens = tf.where(item_mask[..., None], item_tokens + sides[1], 0.0)
        tokens = tf.concat([user_tokens, item_tokens], axis=1)
        return tokens, tf.concat([user_mask, item_mask], axis=1)

    def compute_output_spec(
        self, user_tokens: Any, user_mask: Any, item_tokens: Any, item_mask: Any
    ) -> Any:
        """Says that tokens are float32 under every dtype policy, and the mask is bool."""
        lengths = (user_tokens.shape[1], item_tokens.shape[1])
        length = None if None in lengths else sum(lengths)
        batch, dim = user_tokens.shape[0], user_tokens.shape[-1]
        return (
            keras.KerasTensor((batch, length, dim), dtype="float32"),
            keras.KerasTensor((batch, length), dtype="bool"),
        )
