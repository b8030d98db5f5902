"""A user's item vectors in order of time → one vector at each point of the history."""

from __future__ import annotations

from typing import Any

from tfrec_llm.keras_api import keras, tf
from tfrec_llm.towers.causal_transformer import CausalTransformer
from tfrec_llm.towers.gap_embedding import GapEmbedding
from tfrec_llm.towers.newest_item_attention import NewestItemAttention
from tfrec_llm.towers.recency_mean import RECENCY, RecencyMean

KINDS = ("mean", "attention", "gru", "lstm", "transformer")


@keras.saving.register_keras_serializable(package="tfrec_llm")
class HistoryEncoder(keras.layers.Layer):
    """Sums up a history: the recency-weighted mean, plus a network that starts at zero.

    Every kind therefore starts as the mean, which is a fair recommender before any training.
    Where histories have no order, `recency` 1 starts it as the plain mean.
    Position t depends on the items up to t alone, so every position is a training example.

    Args:
        kind: one of `mean`, `attention` (query: the newest item), `gru`, `lstm`, `transformer`.
        max_history: int, longest history. Defaults to 50.
        num_layers: int, layers of a transformer. Defaults to 1.
        num_heads: int, heads of a transformer. Defaults to 2.
        dropout: float in [0, 1). Defaults to 0.
        time_gaps: bool, whether it learns from the time between items: by the weights of the mean,
            and by a vector added to what the network is given of an item. Defaults to False.
        recency: float in (0, 1], the weight of an item against the one after it, from which the
            mean starts. Defaults to 0.7.

    Call arguments:
        history: float32 `(batch, length, dim)`, oldest first, padding on the left.
        history_mask: bool `(batch, length)`, True for an item.
        gaps: int32 `(batch, length)`, the time between each item and the one before it, see
            `time_gaps`; 0 where unknown and at padding. None: all are unknown.
        training: bool, whether drop-out is on.

    Returns: float32 `(batch, length, dim)`, entries of about 1 (the length is about √dim); zeros
        where no item has been seen yet.

    Raises: ValueError when `kind` is not one of the five, or gaps are given without `time_gaps`.

    Example:
        >>> layer = HistoryEncoder("gru", max_history=4)
        >>> layer(keras.ops.ones((2, 3, 4)), keras.ops.ones((2, 3), dtype="bool")).shape
        TensorShape([2, 3, 4])
    """

    def __init__(
        self,
        kind: str = "transformer",
        max_history: int = 50,
        num_layers: int = 1,
        num_heads: int = 2,
        dropout: float = 0.0,
        time_gaps: bool = False,
        recency: float = RECENCY,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        if kind not in KINDS:
            raise ValueError(f"`kind` must be one of {', '.join(KINDS)}, got {kind!r}.")
        self.kind = kind
        self.max_history = max_history
        self.num_layers = num_layers
        self.num_heads = num_heads
        self.dropout = dropout
        self.time_gaps = time_gaps
        self.recency = recency
        self.mean = RecencyMean(max_history, recency, time_gaps, name="mean")
        self.drop = keras.layers.Dropout(dropout)

    def build(self, history_shape: tuple[int | None, ...], *_: Any) -> None:
        """Makes the network for item vectors of the given width."""
        dim = history_shape[-1]
        self.mean.build()
        self.network = _network(self.kind, dim, self)
        if self.network is not None:
            self.network.build((None, None, dim))
            self.residual = keras.layers.Dense(dim, kernel_initializer="zeros", name="residual")
            self.residual.build((None, None, dim))
            if self.time_gaps:
                self.gap_embedding = GapEmbedding(int(dim or 0), name="gaps")
                self.gap_embedding.build()
        self.built = True

    def call(
        self, history: Any, history_mask: Any, gaps: Any = None, training: bool = False
    ) -> Any:
        """Sums up each prefix of the history."""
        if gaps is not None and not self.time_gaps:
            raise ValueError("`gaps` are given, but this layer was made without `time_gaps`.")
        scale = float(history.shape[-1]) ** 0.5
        mean = self.mean(history, history_mask, gaps) * scale
        if self.network is None:
            return mean
        # Item vectors have length 1: bring their entries to about 1 before the network.
        scaled = history * scale
        if gaps is not None:
            scaled += tf.cast(self.gap_embedding(gaps), scaled.dtype)
        scaled *= tf.cast(history_mask, history.dtype)[..., None]
        if self.kind in ("gru", "lstm"):
            scaled = self.drop(scaled, training=training)
            hidden = self.network(scaled, mask=history_mask, training=training)
        else:
            hidden = self.network(scaled, history_mask, training=training)
        seen = tf.cumsum(tf.cast(history_mask, mean.dtype), axis=1) > 0
        return mean + self.residual(hidden) * tf.cast(seen, mean.dtype)[..., None]

    def get_config(self) -> dict[str, Any]:
        """Returns the constructor arguments."""
        return {
            **super().get_config(),
            "kind": self.kind,
            "max_history": self.max_history,
            "num_layers": self.num_layers,
            "num_heads": self.num_heads,
            "dropout": self.dropout,
            "time_gaps": self.time_gaps,
            "recency": self.recency,
        }


def _network(kind: str, dim: int | None, of: HistoryEncoder) -> Any:
    if kind == "attention":
        return NewestItemAttention(of.dropout, name="attention")
    # On a GPU Keras would take cuDNN, which refuses padding on the left.
    if kind == "gru":
        return keras.layers.GRU(dim, return_sequences=True, use_cudnn=False, name="gru")
    if kind == "lstm":
        return keras.layers.LSTM(dim, return_sequences=True, use_cudnn=False, name="lstm")
    if kind == "transformer":
        return CausalTransformer(
            of.num_layers, of.num_heads, of.max_history, of.dropout, name="transformer"
        )
    return None
