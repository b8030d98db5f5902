"""The softmax cross-entropy of a batch whose queries share their candidates."""

from __future__ import annotations

from typing import Any

from tfrec_llm.keras_api import tf
from tfrec_llm.losses.positive_scores import positive_scores

_MASKED = -1e30


def in_batch_softmax(
    scores: Any,
    is_negative: Any,
    log_probability: Any | None = None,
    *,
    label_smoothing: float = 0.0,
    debias_share: float = 0.0,
    lowest_score: Any | None = None,
    labels: Any | None = None,
    num_positives: Any | None = None,
) -> Any:
    """Returns the mean cross-entropy of each query's positive among its negatives.

    Scores come in logQ-corrected, of positives and negatives alike: the logarithm of the chance
    that a slot holds the candidate is taken from them. A slot's exponential then stands for its
    share of a sum over the whole corpus, and both options keep to that:

    - Label smoothing gives that much of the label to the negatives that count, as evenly as over
      the corpus: each in proportion to 1 / its probability. A query without negatives keeps it.
    - Debiasing takes the expected false negatives out of the denominator. Of m negatives
      `debias_share` m are taken to be items that the query would take, which score as its
      positive does; the rest stands for all m. What is left is never below what m negatives of
      the lowest score would be, as in the paper.

    Args:
        scores: float32 `(num_queries, num_candidates)`, divided by the temperature and
            logQ-corrected; column i is the positive of query i.
        is_negative: bool `(num_queries, num_candidates)`, which candidates count as negatives of a
            query; what is said of its positive is not looked at.
        log_probability: float32 `(num_candidates,)`, that was taken from the scores, for the
            options. Defaults to None, all alike.
        label_smoothing: float in [0, 1). Defaults to 0.
        debias_share: float in [0, 1), expected share of false negatives among the negatives that
            count. Defaults to 0.
        lowest_score: float32 scalar, the least that a score can be before the correction, needed
            for debiasing: -1 / temperature for cosines. Defaults to None.
        labels: int32 `(num_queries,)`, the column of each query's positive, for queries that are
            some of a larger batch. Defaults to None, as above.
        num_positives: int32 scalar, the queries of that larger batch: what comes back is the share
            of these queries in its mean. Defaults to None, the queries that are here.

    Returns: float32 scalar, the mean over the queries; 0 without queries.

    Raises: ValueError when a share is outside [0, 1), or debiasing lacks `lowest_score`.

    Example:
        >>> round(float(in_batch_softmax(tf.eye(2), tf.ones((2, 2), tf.bool))), 4)
        0.3133

    Reference: Yi et al., 2019, doi:10.1145/3298689.3346996 (logQ); Szegedy et al., 2016,
    arXiv:1512.00567 (smoothing); Chuang et al., 2020, arXiv:2007.00224 (debiasing)
    """
    for name, share in (("label_smoothing", label_smoothing), ("debias_share", debias_share)):
        if not 0.0 <= share < 1.0:
            raise ValueError(f"`{name}` must lie in [0, 1), got {share!r}.")
    if debias_share and lowest_score is None:
        raise ValueError("`debias_share` needs `lowest_score`. Pass -1 / temperature for cosines.")
    num_queries, num_candidates = tf.shape(scores)[0], tf.shape(scores)[1]
    if log_probability is None:
        log_probability = tf.zeros([num_candidates])
    columns = tf.range(num_queries) if labels is None else labels
    is_positive = columns[:, None] == tf.range(num_candidates)[None, :]
    is_negative &= ~is_positive
    positive = positive_scores(scores, labels)
    negatives = _log_sum(scores, is_negative)  # (num_queries,)
    if debias_share:
        lowest = _log_sum(lowest_score - log_probability, is_negative)
        num_negatives = tf.math.count_nonzero(is_negative, axis=1, dtype=tf.float32)
        negatives = _without_false(negatives, positive, num_negatives, debias_share)
        negatives = tf.maximum(negatives, lowest)
    losses = tf.nn.softplus(negatives - positive)  # -log of the share of the positive
    if label_smoothing:
        weights = tf.nn.softmax(tf.where(is_negative, -log_probability, _MASKED), axis=1)
        weights *= tf.cast(is_negative, weights.dtype)
        leads = tf.reduce_sum(weights * (positive[:, None] - scores), axis=1)
        losses += label_smoothing * leads
    count = num_queries if num_positives is None else num_positives
    return tf.math.divide_no_nan(tf.reduce_sum(losses), tf.cast(count, losses.dtype))


def _log_sum(scores: Any, counts: Any) -> Any:
    """Returns the log of the sum of exponentials of a row, very low where nothing counts."""
    return tf.reduce_logsumexp(tf.where(counts, scores, _MASKED), axis=1)


def _without_false(negatives: Any, positive: Any, count: Any, share: float) -> Any:
    """Returns log((exp(negatives) - share count exp(positive)) / (1 - share)), or very low."""
    log_false = tf.math.log(tf.maximum(share * count, 1e-30)) + positive
    left = -tf.math.expm1(tf.minimum(log_false - negatives, 0.0))
    return negatives + tf.math.log(tf.maximum(left, 1e-30)) - tf.math.log1p(-share)
