"""The mean of a history in which recent items weigh more, at every point of the history."""

from __future__ import annotations

from typing import Any

from tfrec_llm.keras_api import keras, tf
from tfrec_llm.towers.unit_length import unit_length


@keras.saving.register_keras_serializable(package="tfrec_llm")
class RecencyMean(keras.layers.Layer):
    """Averages item vectors up to each position, weighted by a learned function of their age.

    The weights start at `decay ** age` (age 0 is the newest item), the weighting of a strong
    item-kNN, and are learned on a log scale, one for each age.

    Args:
        max_history: int, longest history. Older items have no weight of their own.
        decay: float in (0, 1], start of the weights. Defaults to 0.7.

    Call arguments:
        history: float32 `(batch, length, dim)`, oldest first, padding on the left.
        history_mask: bool `(batch, length)`, True for an item.

    Returns: float32 `(batch, length, dim)`; position t sums up the items up to t, to unit length.

    Example:
        >>> layer = RecencyMean(max_history=2, decay=0.5)
        >>> history = keras.ops.array([[[1.0, 0.0], [0.0, 1.0]]])
        >>> mean = layer(history, keras.ops.array([[True, True]]))
        >>> (mean[0, 1, 1] / mean[0, 1, 0]).numpy().round(3)
        np.float32(2.0)
    """

    def __init__(self, max_history: int, decay: float = 0.7, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.max_history = max_history
        self.decay = decay

    def build(self, *_: Any) -> None:
        """Makes one log weight for each age."""
        self.log_weights = self.add_weight(
            shape=(self.max_history,), initializer="zeros", name="log_weights"
        )
        ages = keras.ops.arange(self.max_history, dtype="float32")
        self.log_weights.assign(ages * keras.ops.log(self.decay))
        self.built = True

    def call(self, history: Any, history_mask: Any) -> Any:
        """Averages each prefix of the history."""
        length = tf.shape(history)[1]
        age = tf.range(length)[:, None] - tf.range(length)[None, :]
        weights = tf.exp(
            tf.gather(self.log_weights.value, tf.clip_by_value(age, 0, self.max_history - 1))
        )
        weights *= tf.cast((age >= 0) & (age < self.max_history), weights.dtype)
        visible = history * tf.cast(history_mask, history.dtype)[..., None]
        return unit_length(tf.einsum("ts,bsd->btd", tf.cast(weights, history.dtype), visible))

    def get_config(self) -> dict[str, Any]:
        """Returns the constructor arguments."""
        return {
            **super().get_config(),
            "max_history": self.max_history,
            "decay": self.decay,
        }
