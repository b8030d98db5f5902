"""The mean of a history in which recent items weigh more, at every point of the history."""

from __future__ import annotations

from typing import Any

from tfrec_llm.data.time_gaps import NUM_BUCKETS, UNKNOWN
from tfrec_llm.keras_api import keras, tf
from tfrec_llm.towers.unit_length import unit_length

RECENCY = 0.7  # where the weights start; 1 where histories have no order


@keras.saving.register_keras_serializable(package="tfrec_llm")
class RecencyMean(keras.layers.Layer):
    """Averages item vectors up to each position, weighted by a learned function of their age.

    The weights start at `decay ** age` (age 0 is the newest item), the weighting of a strong
    item-kNN, and are learned on a log scale, one for each age. With time gaps what stands before
    a gap is weighted by one more learned factor for each gap that lies between it and the newest
    item; that of a bucket starts at 1, and that of an unknown gap stays there.

    Args:
        max_history: int, longest history. Older items have no weight of their own.
        decay: float in (0, 1], start of the weights. Defaults to 0.7.
        time_gaps: bool, whether there is a factor for each bucket of time. Defaults to False.

    Call arguments:
        history: float32 `(batch, length, dim)`, oldest first, padding on the left.
        history_mask: bool `(batch, length)`, True for an item.
        gaps: int32 `(batch, length)`, see `time_gaps`, 0 where unknown and at padding; optional.

    Returns: float32 `(batch, length, dim)`; position t sums up the items up to t, to unit length.

    Example:
        >>> layer = RecencyMean(max_history=2, decay=0.5)
        >>> history = keras.ops.array([[[1.0, 0.0], [0.0, 1.0]]])
        >>> mean = layer(history, keras.ops.array([[True, True]]))
        >>> round(float(mean[0, 1, 1] / mean[0, 1, 0]), 3)
        2.0
    """

    def __init__(
        self, max_history: int, decay: float = RECENCY, time_gaps: bool = False, **kwargs: Any
    ) -> None:
        super().__init__(**kwargs)
        self.max_history = max_history
        self.decay = decay
        self.time_gaps = time_gaps

    def build(self, *_: Any) -> None:
        """Makes one log weight for each age, and one for each bucket of time."""
        self.log_weights = self.add_weight(
            shape=(self.max_history,), initializer="zeros", name="log_weights"
        )
        ages = keras.ops.arange(self.max_history, dtype="float32")
        self.log_weights.assign(ages * keras.ops.log(self.decay))
        if self.time_gaps:
            self.log_gap_weights = self.add_weight(
                shape=(NUM_BUCKETS,), initializer="zeros", name="log_gap_weights"
            )
        self.built = True

    def call(self, history: Any, history_mask: Any, gaps: Any = None) -> Any:
        """Averages each prefix of the history."""
        length = tf.shape(history)[1]
        age = tf.range(length)[:, None] - tf.range(length)[None, :]
        logs = tf.gather(self.log_weights.value, tf.clip_by_value(age, 0, self.max_history - 1))
        is_past = (age >= 0) & (age < self.max_history)
        visible = history * tf.cast(history_mask, history.dtype)[..., None]
        if gaps is None or not self.time_gaps:
            weights = tf.exp(logs) * tf.cast(is_past, logs.dtype)
            return unit_length(tf.einsum("ts,bsd->btd", tf.cast(weights, history.dtype), visible))
        weights = self._gap_weights(logs, gaps, is_past & history_mask[:, None, :])
        return unit_length(tf.einsum("bts,bsd->btd", tf.cast(weights, history.dtype), visible))

    def _gap_weights(self, logs: Any, gaps: Any, is_seen: Any) -> Any:
        """Returns the weights `(batch, t, s)`; those of t share a factor, as lengths are lost."""
        is_known = tf.not_equal(gaps, UNKNOWN)
        of_gap = tf.where(is_known, tf.gather(self.log_gap_weights.value, gaps), 0.0)
        passed = tf.cumsum(of_gap, axis=1)  # of the gaps between s and t: what t has more than s
        logs = tf.where(is_seen, logs + passed[:, :, None] - passed[:, None, :], logs.dtype.min)
        # The greatest becomes 1: a product of many factors overflows.
        logs -= tf.stop_gradient(tf.reduce_max(logs, axis=2, keepdims=True))
        return tf.exp(logs) * tf.cast(is_seen, logs.dtype)

    def get_config(self) -> dict[str, Any]:
        """Returns the constructor arguments."""
        return {
            **super().get_config(),
            "max_history": self.max_history,
            "decay": self.decay,
            "time_gaps": self.time_gaps,
        }
