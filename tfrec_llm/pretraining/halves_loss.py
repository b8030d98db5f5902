"""Two halves of one text must find each other: what makes the mean of token vectors say a topic."""

from __future__ import annotations

from typing import Any

import numpy as np

from tfrec_llm.keras_api import tf

TEMPERATURE = 0.1


def halves(window: np.ndarray, generator: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Splits the tokens of a text at random; each half moves together, between start and end.

    Tokens must not keep their places: the place of the end would tell which halves belong together.

    Args:
        window: int32 `(tokens,)`, start and end token included.
        generator: of the draw.

    Returns: two windows; their inner tokens, in order, make up those of the whole.

    Example:
        >>> one, other = halves(np.array([2, 7, 8, 9, 3]), np.random.default_rng(0))
        >>> one.tolist(), other.tolist()
        ([2, 8, 9, 3], [2, 7, 3])
    """
    inner = window[1:-1]
    first = generator.random(len(inner)) < 0.5
    ends = (window[:1], window[-1:])
    one, other = (np.concatenate([ends[0], inner[p], ends[1]]) for p in (first, ~first))
    return one, other


def halves_loss(one: Any, other: Any) -> tuple[Any, Any]:
    """Computes the in-batch softmax loss between halves, both ways.

    Args:
        one: float32 `(batch, dim)`, vectors of the first halves.
        other: float32 `(batch, dim)`, of the second halves of the same texts.

    Returns: float32 scalar loss, and float32 `(batch,)`, 1 where a half found its other half.

    Example:
        >>> loss, found = halves_loss(tf.eye(2), tf.eye(2))
        >>> found.numpy().tolist()
        [1.0, 1.0]

    Reference: Gao et al., 2021, arXiv:2104.08821; Lee et al., 2019, arXiv:1906.00300
    """
    one, other = tf.math.l2_normalize(one, axis=1), tf.math.l2_normalize(other, axis=1)
    scores = tf.matmul(one, other, transpose_b=True) / TEMPERATURE
    labels = tf.range(tf.shape(scores)[0])
    losses = [
        tf.nn.sparse_softmax_cross_entropy_with_logits(labels, s)
        for s in (scores, tf.transpose(scores))
    ]
    found = tf.equal(tf.argmax(scores, axis=1, output_type=tf.int32), labels)
    loss = (tf.reduce_mean(losses[0]) + tf.reduce_mean(losses[1])) / 2.0
    return loss, tf.cast(found, tf.float32)
