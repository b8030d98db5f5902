"""A pointwise ranker as a part of a served graph."""

from __future__ import annotations

from typing import Any, Protocol

import numpy as np

from tfrec_llm.errors import UsageError
from tfrec_llm.fusion.padding_mask import mean_of_tokens
from tfrec_llm.keras_api import tf
from tfrec_llm.models.pointwise_ranker import PointwiseRanker
from tfrec_llm.models.reranked_scorer import combined_score
from tfrec_llm.serving.saved_part import saved_part, tf_variable


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
        ranker: PointwiseRanker | _RestoredRanker,
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
        self.history_gain = float(np.asarray(ranker.history_gain))  # kept for a refresh
        tokens = np.asarray(item_tokens, np.float16)
        self.item_tokens = tf.Variable(tokens, trainable=False, name="item_tokens")
        self.item_vectors = tf.Variable(
            ranker.history_tokens(tokens), trainable=False, name="history_tokens"
        )
        # A server finds the variables of a Keras 3 model only if they are tracked themselves.
        self._ranker_variables = [tf_variable(v) for v in ranker.variables]
        self._token_encoder = token_encoder
        self._token_variables = list(token_encoder.variables)
        self._make_parts(ranker, token_encoder)

    def _make_parts(
        self, ranker: PointwiseRanker | _RestoredRanker, token_encoder: TokenEncoder
    ) -> None:
        """Makes functions that stay callable in a loaded export, so that it can be refreshed."""
        pair = [tf.TensorSpec([None, None, self.item_tokens.shape[-1]], tf.float32)] * 2
        project: Any = ranker.project_tokens
        self.part_text_tokens = saved_part(
            token_encoder.embed if project is None else lambda t: project(token_encoder.embed(t)),
            tf.TensorSpec([None], tf.string),
        )
        self.part_logits = saved_part(ranker.logits, *pair)

    @classmethod
    def restored(
        cls,
        loaded: Any,
        item_tokens: np.ndarray,
        *,
        num_candidates: int,
        retriever_weight: float,
        max_history: int,
        history_gain: float,
    ) -> Reranking:
        """Makes one of the parts of a loaded export, for other items.

        Args:
            loaded: the `reranking` of the export, as TensorFlow loads it.
            item_tokens: float16 `(num_items, tokens, width)`, as its `part_text_tokens` gives.
            num_candidates: see the class.
            retriever_weight: see the class.
            max_history: int, items of a history that the ranker reads.
            history_gain: float, what the mean of the tokens of an item is multiplied by.
        """
        ranker = _RestoredRanker(loaded, max_history, history_gain)
        return cls(ranker, ranker, item_tokens, num_candidates, retriever_weight)

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
        return tf.reshape(self.part_logits(user, items), [batch, width])

    def _tokens_of_texts(self, texts: Any, has_text: Any) -> Any:
        """Encodes the rows that have a text; the others are zeros, and cost nothing."""
        num_texts, dim = tf.shape(texts)[0], int(self.item_tokens.shape[-1])

        def encode() -> Any:
            rows = tf.where(has_text)
            # As rough as the table of items, so that a pair scores the same everywhere.
            tokens = tf.cast(self.part_text_tokens(tf.gather_nd(texts, rows)), tf.float16)
            tokens = tf.cast(tokens, tf.float32)
            shape = tf.concat([[num_texts], tf.shape(tokens)[1:]], axis=0)
            return tf.scatter_nd(tf.cast(rows, tf.int32), tokens, shape)

        tokens = tf.cond(
            tf.reduce_any(has_text), encode, lambda: tf.zeros([num_texts, 1, dim], tf.float32)
        )
        return tf.ensure_shape(tokens, [None, None, dim])


class _RestoredRanker(tf.Module):
    """The ranker of a loaded export and its language model, whose tokens come projected."""

    project_tokens = None

    def __init__(self, loaded: Any, max_history: int, history_gain: float) -> None:
        super().__init__(name="restored_ranker")
        self.max_history = max_history
        self.history_gain = np.float32(history_gain)
        self._weights = [*loaded._ranker_variables, *loaded._token_variables]
        self._tables = loaded._token_encoder
        self.embed = loaded.part_text_tokens
        self.logits = loaded.part_logits

    @property
    def variables(self) -> list[Any]:
        """Returns those of the ranker and of its language model."""
        return list(self._weights)

    def history_tokens(self, item_tokens: np.ndarray) -> np.ndarray:
        """Returns what stands for each item in a history, as `PointwiseRanker` does."""
        means = mean_of_tokens(item_tokens) * float(self.history_gain)
        return np.asarray(means, np.float16)
