"""History and free text → the embedding of a user."""

from __future__ import annotations

from typing import Any

from tfrec_llm.keras_api import keras, tf
from tfrec_llm.towers.history_encoder import HistoryEncoder
from tfrec_llm.towers.recency_mean import RECENCY
from tfrec_llm.towers.unit_length import unit_length


@keras.saving.register_keras_serializable(package="tfrec_llm")
class UserTower(keras.layers.Layer):
    """Embeds a user as unit(history + weight · unit(text)), from what a request holds.

    There is no user id: a user never seen before is served as well as any other. The text
    comes in already projected by the item tower's text projection, so a description of a
    user and a description of an item share one space from the start.

    Args:
        history_kind: see `HistoryEncoder`. Defaults to `transformer`.
        max_history: int, longest history. Defaults to 50.
        num_layers: int, layers of a transformer. Defaults to 1.
        num_heads: int, heads of a transformer. Defaults to 2.
        dropout: float in [0, 1). Defaults to 0.3.
        text_weight: float, start of the learned weight of the text. Defaults to 0.5.
        time_gaps: bool, whether it learns from the time between items. Defaults to False.
        recency: float in (0, 1], see `HistoryEncoder`; 1 where histories have no order. Defaults
            to 0.7.

    Call arguments:
        history_embeddings: float32 `(batch, length, dim)`, item embeddings, oldest first.
        history_mask: bool `(batch, length)`, True for an item; padding may stand anywhere.
        text_embeddings: float32 `(batch, dim)`, projected text, of any length.
        text_mask: bool `(batch,)`, True where the user has a text.
        gaps: int32 `(batch, length)`, see `time_gaps`, 0 where unknown; None: all are unknown.

    Returns: float32 `(batch, dim)`, rows of length 1; zeros where nothing is known of the user.

    Example:
        >>> tower = UserTower("mean")
        >>> history, mask = tf.ones((1, 2, 4)), tf.constant([[True, False]])
        >>> tower(history, mask, tf.zeros((1, 4)), tf.constant([False])).numpy().tolist()
        [[0.5, 0.5, 0.5, 0.5]]
    """

    def __init__(
        self,
        history_kind: str = "transformer",
        max_history: int = 50,
        num_layers: int = 1,
        num_heads: int = 2,
        dropout: float = 0.3,
        text_weight: float = 0.5,
        time_gaps: bool = False,
        recency: float = RECENCY,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.history_kind = history_kind
        self.max_history = max_history
        self.num_layers = num_layers
        self.num_heads = num_heads
        self.dropout = dropout
        self.text_weight = text_weight
        self.time_gaps = time_gaps
        self.recency = recency
        self.history_encoder = HistoryEncoder(
            history_kind,
            max_history,
            num_layers,
            num_heads,
            dropout,
            time_gaps,
            recency,
            name="history",
        )

    def build(self, history_shape: tuple[int | None, ...], *_: Any) -> None:
        """Makes the weights for item embeddings of the given width."""
        self.history_encoder.build(history_shape)
        self.learned_text_weight = self.add_weight(
            shape=(),
            initializer=keras.initializers.Constant(self.text_weight),
            name="text_weight",
        )
        self.built = True

    def at_every_position(
        self,
        history_embeddings: Any,
        history_mask: Any,
        text_embeddings: Any,
        text_mask: Any,
        gaps: Any = None,
        training: bool = False,
    ) -> Any:
        """Embeds the user as of each point of a left-padded history.

        Returns: float32 `(batch, length, dim)`; position t knows the items up to t.
        """
        history = self.history_encoder(history_embeddings, history_mask, gaps, training=training)
        scale = float(history_embeddings.shape[-1]) ** 0.5  # the length of `history`
        text = unit_length(text_embeddings) * tf.cast(text_mask, history.dtype)[:, None] * scale
        return unit_length(history + self.learned_text_weight * text[:, None, :])

    def call(
        self,
        history_embeddings: Any,
        history_mask: Any,
        text_embeddings: Any,
        text_mask: Any,
        gaps: Any = None,
    ) -> Any:
        """Embeds the user as of now."""
        # One masked slot in front, so that an empty history has a position too.
        mask = tf.pad(history_mask, [[0, 0], [1, 0]])
        history = tf.pad(history_embeddings, [[0, 0], [1, 0], [0, 0]])
        order = left_padding_order(mask)
        mask = tf.gather(mask, order, batch_dims=1)[:, -self.max_history :]
        history = tf.gather(history, order, batch_dims=1)[:, -self.max_history :]
        if gaps is not None:
            gaps = tf.gather(tf.pad(gaps, [[0, 0], [1, 0]]), order, batch_dims=1)
            gaps = gaps[:, -self.max_history :] * tf.cast(mask, gaps.dtype)
        return self.at_every_position(history, mask, text_embeddings, text_mask, gaps)[:, -1]

    def get_config(self) -> dict[str, Any]:
        """Returns the constructor arguments."""
        return {
            **super().get_config(),
            "history_kind": self.history_kind,
            "max_history": self.max_history,
            "num_layers": self.num_layers,
            "num_heads": self.num_heads,
            "dropout": self.dropout,
            "text_weight": self.text_weight,
            "time_gaps": self.time_gaps,
            "recency": self.recency,
        }


def left_padding_order(mask: Any) -> Any:
    """Returns the order that moves masked slots to the left and keeps the items in order.

    Args:
        mask: bool `(batch, length)`, True for an item.

    Returns: int32 `(batch, length)`, for `tf.gather(…, batch_dims=1)`.

    Example:
        >>> left_padding_order(tf.constant([[True, False, True]])).numpy().tolist()
        [[1, 0, 2]]
    """
    return tf.argsort(tf.cast(mask, tf.int32), axis=1, stable=True)
