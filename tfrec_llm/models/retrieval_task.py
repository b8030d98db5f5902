"""The retrieval loss: a TFRS task with everything it leaves to its user filled in."""

from __future__ import annotations

import math
from typing import Any

from tfrec_llm.keras_api import keras, tf, tfrs


@keras.saving.register_keras_serializable(package="tfrec_llm")
class RetrievalTask(keras.layers.Layer):
    """Mean sampled softmax over in-batch positives and uniform negatives.

    The order of steps, which the TFRS `Retrieval` task carries out: scores ÷ temperature, logQ
    correction for the mixture that the candidates were drawn from, accidental hits masked,
    the query's other own items masked, softmax cross-entropy, mean over the queries (the
    task's default is a sum, which grows with the batch).

    The mixture: of N positives and M uniform draws from the n items that have a share, an item with
    share p of the training positives turns up with probability (N p + M / n) / (N + M) in a slot.

    Args:
        temperature: float > 0, start or fixed value. Defaults to 0.1.
        learn_temperature: bool. Defaults to True.

    Call arguments:
        query_embeddings: float32 `(num_queries, dim)`.
        candidate_embeddings: float32 `(num_queries + num_negatives, dim)`; row i is the positive
            of query i, the rest are uniform draws from the items that have a positive share.
        candidate_ids: int32 `(num_queries + num_negatives,)`, item numbers.
        query_owners: int32 `(num_queries,)`, which user a query (and its positive) belongs to.
        positive_share: float32 `(num_items,)`, share of each item in the training positives.

    Returns: float32 scalar.

    Raises: ValueError when `temperature` is not above 0.

    Example:
        >>> task = RetrievalTask(temperature=1.0, learn_temperature=False)
        >>> loss = task(tf.eye(2), tf.eye(2), tf.constant([0, 1]), tf.constant([0, 1]),
        ...             tf.constant([0.5, 0.5]))
        >>> round(float(loss), 4)
        0.3133

    Reference: Yi et al., 2019, doi:10.1145/3298689.3346996; Yang et al., 2020,
    doi:10.1145/3366424.3386195
    """

    def __init__(
        self, temperature: float = 0.1, learn_temperature: bool = True, **kwargs: Any
    ) -> None:
        super().__init__(**kwargs)
        if temperature <= 0.0:
            raise ValueError(f"`temperature` must be above 0, got {temperature!r}.")
        self.temperature = temperature
        self.learn_temperature = learn_temperature
        mean_loss = tf.keras.losses.CategoricalCrossentropy(
            from_logits=True, reduction=tf.keras.losses.Reduction.SUM_OVER_BATCH_SIZE
        )
        self._task = tfrs.tasks.Retrieval(loss=mean_loss, remove_accidental_hits=True)

    def build(self, *_: Any) -> None:
        """Makes the temperature."""
        self.log_temperature = self.add_weight(
            shape=(),
            initializer=keras.initializers.Constant(math.log(self.temperature)),
            trainable=self.learn_temperature,
            name="log_temperature",
        )
        self.built = True

    def call(
        self,
        query_embeddings: Any,
        candidate_embeddings: Any,
        candidate_ids: Any,
        query_owners: Any,
        positive_share: Any,
    ) -> Any:
        """Computes the loss."""
        num_queries = tf.shape(query_embeddings)[0]
        num_negatives = tf.shape(candidate_ids)[0] - num_queries
        probability = mixture_probability(
            tf.gather(positive_share, candidate_ids),
            num_queries,
            num_negatives,
            tf.math.count_nonzero(positive_share, dtype=tf.int32),
        )
        same_owner = query_owners[:, None] == query_owners[None, :]
        other_own_items = tf.linalg.set_diag(same_owner, tf.zeros([num_queries], tf.bool))
        mask = tf.pad(~other_own_items, [[0, 0], [0, num_negatives]], constant_values=True)
        # A learned temperature stays within a factor of ten of its start: a runaway one ends a run.
        start = math.log(self.temperature)
        temperature = tf.exp(tf.clip_by_value(self.log_temperature.value, start - 2.3, start + 2.3))

        def loss() -> Any:
            return self._task(
                query_embeddings / temperature,
                candidate_embeddings,
                candidate_sampling_probability=probability,
                candidate_ids=candidate_ids,
                score_mask=mask,
                compute_metrics=False,
                compute_batch_metrics=False,
            )

        # TFRS cannot look for accidental hits where there is no candidate at all.
        return tf.cond(tf.size(candidate_ids) > 0, loss, lambda: tf.zeros([]))

    def get_config(self) -> dict[str, Any]:
        """Returns the constructor arguments."""
        return {
            **super().get_config(),
            "temperature": self.temperature,
            "learn_temperature": self.learn_temperature,
        }


def mixture_probability(
    positive_share: Any, num_positives: Any, num_uniform: Any, num_items: Any
) -> Any:
    """Returns the chance that a candidate slot holds an item, for the logQ correction.

    Args:
        positive_share: float32 `(num_candidates,)`, share of the item in the training positives.
        num_positives: int, slots filled by positives.
        num_uniform: int, slots filled by uniform draws.
        num_items: int, items that the uniform draws are from.

    Returns: float32 `(num_candidates,)` in (0, 1].

    Example:
        >>> mixture_probability(tf.constant([0.5, 0.0]), 1, 1, 4).numpy().tolist()
        [0.375, 0.125]
    """
    positives = tf.cast(num_positives, tf.float32)
    uniform = tf.cast(num_uniform, tf.float32)
    expected = positives * positive_share + uniform / tf.cast(num_items, tf.float32)
    return tf.maximum(expected / (positives + uniform), 1e-9)
