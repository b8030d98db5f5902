"""A trained pointwise ranker as something that scores pairs in bulk."""

from __future__ import annotations

from typing import Any

import numpy as np

from tfrec_llm.data.queries import Queries
from tfrec_llm.keras_api import tf
from tfrec_llm.models.pointwise_ranker import PointwiseRanker
from tfrec_llm.models.ranker_features import RankerFeatures


class RankerScorer:
    """Scores pairs from tokens that are projected once and kept in float16, as they are served.

    Args:
        ranker: `PointwiseRanker`; the tokens are projected by its weights of that moment.
        features: `RankerFeatures`, with every user text that will be asked.
    """

    def __init__(self, ranker: PointwiseRanker, features: RankerFeatures) -> None:
        self.ranker = ranker
        self.features = features
        projected = ranker.project_corpus(features.item_tokens)
        item_tokens = tf.constant(projected)
        item_vectors = tf.constant(ranker.history_tokens(projected))
        text_tokens = tf.constant(ranker.project_corpus(features.padded_text_tokens()))

        def logits(histories: Any, texts: Any, items: Any) -> Any:
            known = tf.cast(histories >= 0, tf.float32)[:, :, None]
            history = tf.cast(tf.gather(item_vectors, tf.maximum(histories, 0)), tf.float32)
            text = tf.cast(tf.gather(text_tokens, texts), tf.float32)
            user = tf.concat([text, history * known], axis=1)
            return ranker.logits(user, tf.cast(tf.gather(item_tokens, items), tf.float32))

        numbers = tf.TensorSpec([None], tf.int32)
        self._logits = tf.function(
            logits,
            input_signature=[tf.TensorSpec([None, None], tf.int32), numbers, numbers],
            autograph=False,
        )

    def logits(
        self, cases: Queries, rows: np.ndarray, items: np.ndarray, batch_size: int = 1024
    ) -> np.ndarray:
        """Scores pairs.

        Args:
            cases: what is known of the users.
            rows: int `(n,)`, the case of each pair.
            items: int `(n,)`, item numbers.
            batch_size: int >= 1, pairs at a time.

        Returns: float32 `(n,)`, before the sigmoid.
        """
        histories, texts = self.features.rows_of(cases, self.ranker.max_history)
        blocks = [np.zeros(0, np.float32)]
        for first in range(0, len(rows), batch_size):
            part = rows[first : first + batch_size]
            blocks.append(
                self._logits(
                    tf.constant(histories[part]),
                    tf.constant(texts[part]),
                    tf.constant(items[first : first + batch_size].astype(np.int32)),
                ).numpy()
            )
        return np.concatenate(blocks)
