"""A pointwise ranker as a part of a served graph."""

from __future__ import annotations

from typing import Any, Protocol

import numpy as np

from tfrec_llm.errors import UsageError
from tfrec_llm.keras_api import tf
from tfrec_llm.models.pointwise_ranker import PointwiseRanker
from tfrec_llm.models.reranked_scorer import combined_score


class TokenEncoder(Protocol):
    """What a ranker needs of a language model: a `tf.Module` that gives the tokens of texts."""

    @property
    def variables(self) -> list[Any]:
        """Its tf.Variables."""

    def embed(self, texts: Any) -> Any:
        """Encodes in the graph: string `(n,)` → float32 `(n, tokens, dim)`, zeros at padding."""


class Reranking(tf.Module):
    """Scores pairs of a user and an item in the graph, the tokens of items looked up in a table.

    Args:
        ranker: `PointwiseRanker`.
        token_encoder: of the texts of users.
        item_tokens: float16 `(num_items, tokens, width)`, projected by the ranker.
        num_candidates: int >= 1, how many of the retriever's items are ordered anew.
        retriever_weight: float >= 0, what the retriever's score counts beside the ranker's.

    Raises: UsageError when `num_candidates` is below 1.
    """

    def __init__(
        self,
        ranker: PointwiseRanker,
        token_encoder: TokenEncoder,
        item_tokens: np.ndarray,
        num_candidates: int = 100,
        retriever_weight: float = 0.0,
    ) -> None:
        super().__init__(name="reranking")
        if num_candidates < 1:
            raise UsageError(f"`num_candidates` must be at least 1, got {num_candidates}.")
        self.num_candidates = num_candidates
        self.retriever_weight = retriever_weight
        self.max_history = ranker.max_history
        tokens = np.asarray(item_tokens, np.float16)
        self.item_tokens = tf.Variable(tokens, trainable=False, name="item_tokens")
        self.item_vectors = tf.Variable(
            ranker.history_tokens(tokens), trainable=False, name="history_tokens"
        )
        # Set past tf.Module's tracking: a server finds the variables of a Keras 3 model only if
        # they are tracked themselves.
        object.__setattr__(self, "_ranker", ranker)
        self._ranker_variables = [v.value for v in ranker.variables]
        self._token_encoder = token_encoder
        self._token_variables = list(token_encoder.variables)
        strings = tf.TensorSpec([None], tf.string)
        self._text_tokens = tf.function(
            lambda texts: ranker.project_tokens(token_encoder.embed(texts)),
            input_signature=[strings],
            autograph=False,
        )

    @property
    def num_items(self) -> int:
        """Returns how many items have tokens."""
        return int(self.item_tokens.shape[0])

    @property
    def item_tokens_bytes(self) -> int:
        """Returns the size of the table of item tokens in the graph."""
        return int(np.prod(self.item_tokens.shape)) * 2

    @property
    def facts(self) -> dict[str, Any]:
        """Returns what a model card says of it."""
        return {
            "candidates ordered anew": self.num_candidates,
            "weight of the retriever": self.retriever_weight,
            "item tokens": "x".join(map(str, self.item_tokens.shape)) + " float16",
            "item tokens, bytes": self.item_tokens_bytes,
        }

    def combine(self, logits: Any, retriever_scores: Any) -> Any:
        """Returns the scores by which candidates are ordered anew."""
        return combined_score(logits, retriever_scores, self.retriever_weight)

    def logits(self, user_text: Any, has_text: Any, history: Any, numbers: Any) -> Any:
        """Scores items for users, in the graph.

        Args:
            user_text: string `(batch,)`.
            has_text: bool `(batch,)`; other rows are not encoded.
            history: int32 `(batch, H)`, oldest first, -1 for nothing.
            numbers: int32 `(batch, C)`, items; -1 gets some finite score.

        Returns: float32 `(batch, C)`, before the sigmoid.
        """
        known = tf.cast(history >= 0, tf.float32)[:, :, None]
        past = tf.cast(tf.gather(self.item_vectors, tf.maximum(history, 0)), tf.float32) * known
        user = tf.concat([self._tokens_of_texts(user_text, has_text), past], axis=1)
        batch, width = tf.shape(numbers)[0], tf.shape(numbers)[1]
        user = tf.repeat(user, width, axis=0)
        flat = tf.reshape(tf.maximum(numbers, 0), [-1])
        items = tf.cast(tf.gather(self.item_tokens, flat), tf.float32)
        return tf.reshape(self._ranker.logits(user, items), [batch, width])

    def _tokens_of_texts(self, texts: Any, has_text: Any) -> Any:
        """Encodes the rows that have a text; the others are zeros, and cost nothing."""
        num_texts, dim = tf.shape(texts)[0], int(self.item_tokens.shape[-1])

        def encode() -> Any:
            rows = tf.where(has_text)
            # As rough as the table of items, so that a pair scores the same everywhere.
            tokens = tf.cast(self._text_tokens(tf.gather_nd(texts, rows)), tf.float16)
            tokens = tf.cast(tokens, tf.float32)
            shape = tf.concat([[num_texts], tf.shape(tokens)[1:]], axis=0)
            return tf.scatter_nd(tf.cast(rows, tf.int32), tokens, shape)

        tokens = tf.cond(
            tf.reduce_any(has_text), encode, lambda: tf.zeros([num_texts, 1, dim], tf.float32)
        )
        return tf.ensure_shape(tokens, [None, None, dim])
