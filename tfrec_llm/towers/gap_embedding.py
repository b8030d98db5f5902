"""How long before each item of a history the one before it was taken → a vector."""

from __future__ import annotations

from typing import Any

from tfrec_llm.data.time_gaps import NUM_BUCKETS, UNKNOWN
from tfrec_llm.keras_api import keras, tf


@keras.saving.register_keras_serializable(package="tfrec_llm")
class GapEmbedding(keras.layers.Layer):
    """Looks up a learned vector for each bucket of time; that of an unknown gap stays zero.

    All of them start at zero, so whatever they are added to starts as it is without them.

    Args:
        dim: int, width of the vectors.
        num_buckets: int, see `time_gaps`. Defaults to 32.

    Call arguments:
        gaps: int32 `(batch, length)`, buckets, 0 for an unknown gap.

    Returns: float32 `(batch, length, dim)`.

    Example:
        >>> GapEmbedding(2)(tf.constant([[0, 5]])).numpy().tolist()
        [[[0.0, 0.0], [0.0, 0.0]]]
    """

    def __init__(self, dim: int, num_buckets: int = NUM_BUCKETS, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.dim = dim
        self.num_buckets = num_buckets

    def build(self, *_: Any) -> None:
        """Makes one vector for each bucket."""
        self.table = self.add_weight(
            shape=(self.num_buckets, self.dim), initializer="zeros", name="gap_embedding"
        )
        self.built = True

    def call(self, gaps: Any) -> Any:
        """Looks up."""
        is_known = tf.cast(tf.not_equal(gaps, UNKNOWN), self.compute_dtype)
        return tf.gather(tf.convert_to_tensor(self.table), gaps) * is_known[..., None]

    def get_config(self) -> dict[str, Any]:
        """Returns the constructor arguments."""
        return {**super().get_config(), "dim": self.dim, "num_buckets": self.num_buckets}
