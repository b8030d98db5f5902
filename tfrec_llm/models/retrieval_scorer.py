"""A trained retrieval model as something that can be evaluated."""

from __future__ import annotations

import numpy as np

from tfrec_llm.data.padding import left_padded
from tfrec_llm.data.queries import Queries
from tfrec_llm.data.time_gaps import UNKNOWN
from tfrec_llm.keras_api import tf
from tfrec_llm.models.retrieval_model import RetrievalModel
from tfrec_llm.neighbours.neighbour_table import NeighbourTable

_ALIKE_IN_LENGTH = 64  # queries padded to the longest of them; most histories are short


class RetrievalScorer:
    """Scores every item for held-out queries; the corpus is embedded once.

    Args:
        model: `RetrievalModel`.
        corpus_features: float `(num_items, feature_dim)`, or `(num_items, tokens, feature_dim)`.
        popularity: float32 `(num_items,)`, the scores for a user of whom nothing is known.
        text_features: text → its features, shaped as one row of `corpus_features`, for every user
            text that will be asked.
        name: str, in reports. Defaults to the kind of the model.
        neighbours: what is added where items of the history have neighbours; optional.
        with_gaps: bool, whether a model with time gaps is told those of the queries. Defaults to
            True; False measures what a request without times gets.
    """

    def __init__(
        self,
        model: RetrievalModel,
        corpus_features: np.ndarray,
        popularity: np.ndarray,
        text_features: dict[str, np.ndarray] | None = None,
        name: str | None = None,
        neighbours: NeighbourTable | None = None,
        with_gaps: bool = True,
    ) -> None:
        self.name = name or model.kind
        self.model = model
        self.neighbours = neighbours
        self._feature_shape = corpus_features.shape[1:]
        self.renew(corpus_features, popularity, text_features)
        self._with_gaps = with_gaps and model.time_gaps
        specs = [
            tf.TensorSpec([None, None, model.embedding_dim], tf.float32),
            tf.TensorSpec([None, None], tf.bool),
            tf.TensorSpec([None, *self._feature_shape], tf.float32),
            tf.TensorSpec([None], tf.bool),
        ]
        if self._with_gaps:
            specs.append(tf.TensorSpec([None, None], tf.int32))
        self._embed = tf.function(model.embed_users, input_signature=specs, autograph=False)

    def renew(
        self,
        corpus_features: np.ndarray,
        popularity: np.ndarray,
        text_features: dict[str, np.ndarray] | None = None,
    ) -> None:
        """Embeds the corpus anew, with the weights that the model has by now.

        Cheaper than another scorer, which would trace the graph that embeds users once more.

        Args: as those of the class; features keep their shape.
        """
        self._popularity = np.asarray(popularity, dtype=np.float32)
        self._text_features = text_features or {}
        self.item_embeddings = self.model.embed_corpus(corpus_features, self._popularity == 0.0)

    def embed(self, queries: Queries) -> np.ndarray:
        """Returns user embeddings, float32 `(num_queries, embedding_dim)`."""
        lengths = np.array([len(history) for history in queries.histories], dtype=np.int64)
        by_length = np.argsort(lengths, kind="stable")
        cuts = range(_ALIKE_IN_LENGTH, len(queries), _ALIKE_IN_LENGTH)
        parts = [self._embed_padded(queries.take(rows)) for rows in np.split(by_length, cuts)]
        embeddings = np.concatenate(parts)
        embeddings[by_length] = embeddings.copy()
        return embeddings

    def _embed_padded(self, queries: Queries) -> np.ndarray:
        max_history = self.model.max_history
        numbers = left_padded(queries.histories, max_length=max_history)
        features = np.zeros((len(queries), *self._feature_shape), dtype=np.float32)
        for row, text in enumerate(queries.texts):
            if text:
                features[row] = self._text_features[text]
        arguments = [
            tf.constant(self.item_embeddings[np.maximum(numbers, 0)]),
            tf.constant(numbers >= 0),
            tf.constant(features),
            tf.constant([bool(text) for text in queries.texts], dtype=tf.bool),
        ]
        if self._with_gaps:
            gaps = np.full_like(numbers, UNKNOWN)
            if queries.gaps is not None:
                gaps = left_padded(queries.gaps, max_length=max_history, fill=UNKNOWN)
            arguments.append(tf.constant(gaps))
        embeddings: np.ndarray = self._embed(*arguments).numpy()
        return embeddings

    def score(self, queries: Queries) -> np.ndarray:
        """Returns float32 `(num_queries, num_items)`, dot products and what neighbours add."""
        scores: np.ndarray = self.embed(queries) @ self.item_embeddings.T
        if self.neighbours is not None:
            recent = [history[-self.model.max_history :] for history in queries.histories]
            added = self.neighbours.scores(recent).tocoo()
            scores[added.row, added.col] += added.data
        for row, (history, text) in enumerate(zip(queries.histories, queries.texts, strict=True)):
            if not len(history) and not text:
                scores[row] = self._popularity
        return scores
