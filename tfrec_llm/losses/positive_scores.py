"""The score of each query's positive, wherever it stands among the candidates."""

from __future__ import annotations

from typing import Any

from tfrec_llm.keras_api import tf


def positive_scores(scores: Any, labels: Any | None = None) -> Any:
    """Returns the score that each query gives its positive.

    Args:
        scores: float32 `(num_queries, num_candidates)`.
        labels: int32 `(num_queries,)`, the column of each query's positive. Defaults to None:
            column i is the positive of query i.

    Returns: float32 `(num_queries,)`.

    Example:
        >>> scores = tf.constant([[0.1, 0.2], [0.3, 0.4]])
        >>> positive_scores(scores).numpy().tolist() == [scores[0, 0], scores[1, 1]]
        True
        >>> positive_scores(scores, tf.constant([1, 0])).numpy().tolist()
        [0.20000000298023224, 0.30000001192092896]
    """
    if labels is None:
        return tf.linalg.diag_part(scores)
    return tf.gather(scores, labels, axis=1, batch_dims=1)
