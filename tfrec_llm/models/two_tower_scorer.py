"""A trained two-tower model as something that can be evaluated."""

from __future__ import annotations

import numpy as np

from tfrec_llm.data.padding import left_padded
from tfrec_llm.data.queries import Queries
from tfrec_llm.keras_api import tf
from tfrec_llm.models.two_tower_model import TwoTowerModel


class TwoTowerScorer:
    """Scores every item for held-out queries; the corpus is embedded once.

    Args:
        model: `TwoTowerModel`.
        corpus_features: float32 `(num_items, feature_dim)`.
        popularity: float32 `(num_items,)`, the scores for a user of whom nothing is known.
        text_features: text → float32 `(feature_dim,)`, for every user text that will be asked.
        name: str, in reports. Defaults to `two_tower`.
    """

    def __init__(
        self,
        model: TwoTowerModel,
        corpus_features: np.ndarray,
        popularity: np.ndarray,
        text_features: dict[str, np.ndarray] | None = None,
        name: str = "two_tower",
    ) -> None:
        self.name = name
        self.model = model
        self.item_embeddings = model.embed_corpus(corpus_features)
        self._popularity = np.asarray(popularity, dtype=np.float32)
        self._text_features = text_features or {}
        self._embed = tf.function(
            model.embed_users,
            input_signature=[
                tf.TensorSpec([None, None, model.embedding_dim], tf.float32),
                tf.TensorSpec([None, None], tf.bool),
                tf.TensorSpec([None, model.feature_dim], tf.float32),
                tf.TensorSpec([None], tf.bool),
            ],
        )

    def embed(self, queries: Queries) -> np.ndarray:
        """Returns user embeddings, float32 `(num_queries, embedding_dim)`."""
        max_history = self.model.user_tower.max_history
        numbers = left_padded(queries.histories, max_length=max_history)
        features = np.zeros((len(queries), self.model.feature_dim), dtype=np.float32)
        for row, text in enumerate(queries.texts):
            if text:
                features[row] = self._text_features[text]
        embeddings: np.ndarray = self._embed(
            tf.constant(self.item_embeddings[np.maximum(numbers, 0)]),
            tf.constant(numbers >= 0),
            tf.constant(features),
            tf.constant([bool(text) for text in queries.texts], dtype=tf.bool),
        ).numpy()
        return embeddings

    def score(self, queries: Queries) -> np.ndarray:
        """Returns float32 `(num_queries, num_items)`, cosines in [-1, 1]."""
        scores: np.ndarray = self.embed(queries) @ self.item_embeddings.T
        for row, (history, text) in enumerate(zip(queries.histories, queries.texts, strict=True)):
            if not len(history) and not text:
                scores[row] = self._popularity
        return scores
