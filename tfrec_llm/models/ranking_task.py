"""The ranking loss: a TFRS task on pairs of a user and an item, taken or not."""

from __future__ import annotations

from typing import Any

from tfrec_llm.keras_api import keras, tf, tfrs


@keras.saving.register_keras_serializable(package="tfrec_llm")
class RankingTask(keras.layers.Layer):
    """Mean binary cross-entropy of the TFRS `Ranking` task, on logits.

    The task is a layer of Keras 2, as all of TFRS: it computes the loss and holds no weights.

    Call arguments:
        labels: float32 `(batch,)`, 1 for an item that the user took, 0 for a negative.
        logits: float32 `(batch,)`, before the sigmoid.

    Returns: float32 scalar, the mean over the pairs, in nats.

    Example:
        >>> loss = RankingTask()(tf.constant([1.0, 0.0]), tf.constant([0.0, 0.0]))
        >>> round(float(loss), 4)
        0.6931
    """

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        mean_loss = tf.keras.losses.BinaryCrossentropy(
            from_logits=True, reduction=tf.keras.losses.Reduction.SUM_OVER_BATCH_SIZE
        )
        self._task = tfrs.tasks.Ranking(loss=mean_loss)
        self.built = True

    def call(self, labels: Any, logits: Any) -> Any:
        """Computes the loss."""
        return self._task(labels[:, None], logits[:, None], compute_metrics=False)
