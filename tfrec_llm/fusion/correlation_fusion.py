"""The tokens of a user and an item, each with what corresponds to it on the other side."""

from __future__ import annotations

from typing import Any

from tfrec_llm.fusion.masked_softmax import masked_softmax
from tfrec_llm.fusion.token_concat import TokenConcat
from tfrec_llm.fusion.visible_tokens import visible_tokens
from tfrec_llm.keras_api import keras, tf

_SIDES = ("user", "item")


@keras.saving.register_keras_serializable(package="tfrec_llm")
class CorrelationFusion(keras.layers.Layer):
    """Correlation-aware fusion: cross attention between the two sides, then joined.

    Each item token attends to the user's tokens, and each user token to the item's, by scaled dot
    product with learned projections; what it finds is added to it. The output projections start
    at zero, so the layer starts as `TokenConcat`. A side without any token adds nothing to the
    other. Inputs are not cast and the result is float32 whatever the dtype policy.

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
        >>> tokens, mask = CorrelationFusion()(user, masks[0], item, masks[1])
        >>> tokens.numpy().ravel().tolist(), mask.numpy().tolist()
        ([1.0, 0.0, 2.0], [[True, False, True]])

    Reference: the co-attention of Lu et al., 2019, ViLBERT, arXiv:1908.02265, without its
    feed-forward blocks
    """

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(autocast=False, **kwargs)
        self.join = TokenConcat(dtype="float32", name="join")

    def build(self, user_tokens_shape: tuple[int | None, ...], *_: Any) -> None:
        """Makes the projections for tokens of the given width."""
        dim = user_tokens_shape[-1]
        self.projections: dict[str, Any] = {}
        for side in _SIDES:
            for role in ("query", "key", "value", "output"):
                kind = "zeros" if role == "output" else "glorot_uniform"
                name = f"{side}_{role}"
                # No bias: a side without tokens adds nothing.
                dense = keras.layers.Dense(
                    dim, use_bias=False, kernel_initializer=kind, dtype="float32", name=name
                )
                dense.build((None, None, dim))
                self.projections[name] = dense
        self.join.build((None, None, dim))
        self.built = True

    def call(self, user_tokens: Any, user_mask: Any, item_tokens: Any, item_mask: Any) -> Any:
        """Attends both ways and joins the two sides."""
        user_tokens, user_mask = visible_tokens(user_tokens, user_mask)
        item_tokens, item_mask = visible_tokens(item_tokens, item_mask)
        found_by_user = self._attend("user", user_tokens, item_tokens, item_mask)
        found_by_item = self._attend("item", item_tokens, user_tokens, user_mask)
        return self.join(
            user_tokens + found_by_user, user_mask, item_tokens + found_by_item, item_mask
        )

    def compute_output_spec(
        self, user_tokens: Any, user_mask: Any, item_tokens: Any, item_mask: Any
    ) -> Any:
        """Says what `TokenConcat` says."""
        return self.join.compute_output_spec(user_tokens, user_mask, item_tokens, item_mask)

    def _attend(self, side: str, tokens: Any, others: Any, others_mask: Any) -> Any:
        query = self.projections[f"{side}_query"](tokens)
        key = self.projections[f"{side}_key"](others)
        value = self.projections[f"{side}_value"](others)
        scores = tf.matmul(query, key, transpose_b=True) * float(tokens.shape[-1]) ** -0.5
        weights = masked_softmax(scores, others_mask[:, None, :])
        return self.projections[f"{side}_output"](tf.matmul(weights, value))
