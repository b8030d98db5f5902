"""The retrieval loss: which candidates count for a query, and how."""

from __future__ import annotations

import math
from typing import Any

from tfrec_llm.keras_api import keras, tf
from tfrec_llm.losses.hard_negatives import hard_negatives
from tfrec_llm.losses.in_batch_softmax import in_batch_softmax
from tfrec_llm.losses.negative_queue import NegativeQueue


@keras.saving.register_keras_serializable(package="tfrec_llm")
class RetrievalTask(keras.layers.Layer):
    """Mean sampled softmax over in-batch positives, uniform negatives and a queue of past ones.

    The order of steps:

    1. The candidates of the queue are put behind those of the step (`NegativeQueue`).
    2. Cosines of all queries and candidates, ÷ temperature.
    3. logQ correction for the mixture that the candidates were drawn from, that of the queue's
       for the mixture of their own step.
    4. Masked: accidental hits, the query's other own items, empty slots of the queue.
    5. The guard against false negatives, then the hardest negatives are kept (`hard_negatives`).
    6. Softmax cross-entropy, smoothed and debiased (`in_batch_softmax`), mean over the queries.
    7. The candidates of the step enter the queue.

    Without options this is the `Retrieval` task of TensorFlow Recommenders with a mean as its
    loss (its default is a sum, which grows with the batch) and all its optional inputs given.

    The mixture: of N positives and M uniform draws from the n items that have a share, an item with
    share p of the training positives turns up with probability (N p + M / n) / (N + M) in a slot.

    Args:
        temperature: float > 0, start or fixed value. Defaults to 0.1.
        learn_temperature: bool. Defaults to True.
        num_hard_negatives: int ≥ 1, negatives kept for a query. Defaults to None, all.
        false_negative_margin: float, cosine; a negative that leads the positive by more is
            dropped. Defaults to None, no guard.
        queue_size: int ≥ 0, candidates of past steps that serve as negatives. Defaults to 0.
        label_smoothing: float in [0, 1). Defaults to 0.
        debias_share: float in [0, 1), expected share of false negatives. Defaults to 0.

    Call arguments:
        query_embeddings: float32 `(num_queries, dim)`.
        candidate_embeddings: float32 `(num_positives + num_negatives, dim)`; row i is the positive
            of query i, the rest are uniform draws from the items that have a positive share.
        candidate_ids: int32 `(num_positives + num_negatives,)`, item numbers.
        query_owners: int32 `(num_positives,)`, which user a positive (and its query) belongs to.
        positive_share: float32 `(num_items,)`, share of each item in the training positives.
        plain: bool, True leaves steps 1, 5 and 7 and the options of step 6 out: for queries
            whose negatives are known to be such. Defaults to False.
        labels: int32 `(num_queries,)`, the row of each query's positive, where the queries are
            some of the `num_positives` of a step: the loss is then their share of its mean, and
            the shares of all replicas add up to it. Defaults to None, all of them in order.

    Returns: float32 scalar.

    Raises: ValueError when an argument is out of its bounds.

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
        self,
        temperature: float = 0.1,
        learn_temperature: bool = True,
        *,
        num_hard_negatives: int | None = None,
        false_negative_margin: float | None = None,
        queue_size: int = 0,
        label_smoothing: float = 0.0,
        debias_share: float = 0.0,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        if temperature <= 0.0:
            raise ValueError(f"`temperature` must be above 0, got {temperature!r}.")
        for name, least, value in (
            ("num_hard_negatives", 1, num_hard_negatives),
            ("queue_size", 0, queue_size),
        ):
            if value is not None and value < least:
                raise ValueError(f"`{name}` must be at least {least}, got {value!r}.")
        for name, share in (("label_smoothing", label_smoothing), ("debias_share", debias_share)):
            if not 0.0 <= share < 1.0:
                raise ValueError(f"`{name}` must lie in [0, 1), got {share!r}.")
        self.temperature = temperature
        self.learn_temperature = learn_temperature
        self.num_hard_negatives = num_hard_negatives
        self.false_negative_margin = false_negative_margin
        self.queue_size = queue_size
        self.label_smoothing = label_smoothing
        self.debias_share = debias_share
        self.queue: NegativeQueue | None = None

    def build(self, query_embeddings_shape: tuple[int | None, ...] = (None, None)) -> None:
        """Makes the temperature, and the queue for embeddings of the given width."""
        self.log_temperature = self.add_weight(
            shape=(),
            initializer=keras.initializers.Constant(math.log(self.temperature)),
            trainable=self.learn_temperature,
            name="log_temperature",
        )
        if self.queue_size:
            width = query_embeddings_shape[-1]
            if width is None:
                raise ValueError("A queue needs the width of the embeddings: build((None, dim)).")
            self.queue = NegativeQueue(self.queue_size, width, name="queue")
        self.built = True

    def call(
        self,
        query_embeddings: Any,
        candidate_embeddings: Any,
        candidate_ids: Any,
        query_owners: Any,
        positive_share: Any,
        plain: bool = False,
        labels: Any | None = None,
    ) -> Any:
        """Computes the loss."""
        num_positives = tf.shape(query_owners)[0]
        num_candidates = tf.shape(candidate_ids)[0]
        own_ids, own_owners = candidate_ids[:num_positives], query_owners
        if labels is not None:
            own_ids, own_owners = tf.gather(own_ids, labels), tf.gather(own_owners, labels)
        log_probability = tf.math.log(
            mixture_probability(
                tf.gather(positive_share, candidate_ids),
                num_positives,
                num_candidates - num_positives,
                tf.math.count_nonzero(positive_share, dtype=tf.int32),
            )
        )
        of_step = (candidate_embeddings, candidate_ids, log_probability)
        queue = None if plain else self.queue
        if queue is not None:
            candidate_embeddings, candidate_ids, log_probability = (
                tf.concat(both, axis=0) for both in zip(of_step, queue.entries(), strict=True)
            )
        # Also masks the positive itself, and the empty slots of a queue have no id.
        is_negative = own_ids[:, None] != candidate_ids[None, :]
        if queue is not None:
            is_negative &= candidate_ids[None, :] >= 0
        other_owner = own_owners[:, None] != query_owners[None, :]
        is_negative &= tf.pad(
            other_owner,
            [[0, 0], [0, tf.shape(candidate_ids)[0] - num_positives]],
            constant_values=True,
        )
        # A learned temperature stays within a factor of ten of its start: a runaway one ends a run.
        start = math.log(self.temperature)
        temperature = tf.exp(tf.clip_by_value(self.log_temperature.value, start - 2.3, start + 2.3))
        scores = tf.matmul(query_embeddings / temperature, candidate_embeddings, transpose_b=True)
        cosines, scores = scores * temperature, scores - log_probability
        part = {"labels": labels, "num_positives": num_positives}
        if plain:
            return in_batch_softmax(scores, is_negative, **part)
        is_negative = hard_negatives(
            scores,
            cosines,
            is_negative,
            self.num_hard_negatives,
            self.false_negative_margin,
            labels,
        )
        loss = in_batch_softmax(
            scores,
            is_negative,
            log_probability,
            label_smoothing=self.label_smoothing,
            debias_share=self.debias_share,
            lowest_score=-1.0 / temperature,
            **part,
        )
        if queue is not None:
            queue.push(*of_step)
        return loss

    def get_config(self) -> dict[str, Any]:
        """Returns the constructor arguments."""
        return {
            **super().get_config(),
            "temperature": self.temperature,
            "learn_temperature": self.learn_temperature,
            "num_hard_negatives": self.num_hard_negatives,
            "false_negative_margin": self.false_negative_margin,
            "queue_size": self.queue_size,
            "label_smoothing": self.label_smoothing,
            "debias_share": self.debias_share,
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
