"""Two towers and their training loss; the one place where user turns query, item candidate."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from tfrec_llm.data.time_gaps import UNKNOWN
from tfrec_llm.keras_api import keras, tf
from tfrec_llm.losses.gradient_caching import chunked_with_recompute, random_states_of
from tfrec_llm.models.retrieval_task import RetrievalTask
from tfrec_llm.models.step_part import WholeStep
from tfrec_llm.models.variant_rows import variant_rows
from tfrec_llm.towers.item_tower import ItemTower
from tfrec_llm.towers.starts import ItemTowerStart
from tfrec_llm.towers.unit_length import unit_length
from tfrec_llm.towers.user_tower import UserTower

MAX_TEXT_QUERIES = 256
TEXT_QUERY_DROPOUT = 0.3
TOKEN_BATCH = 256
UNTIMED_SHARE = 0.2
_UNTIMED_DRAW = 100  # its number among the draws of a step


class TwoTowerModel(keras.Model):
    """Embeds users and items in one space where a dot product says how well they fit.

    With a prior an item has one column more, and a user with a history ends in 1 there; who is
    known by a text alone asks for what that means and ends in 0, as an item does whose likes are
    asked for, see `similarity_mask`. The prior is set, not trained, see `prior.item_prior`.

    Args:
        item_tower: `ItemTower`.
        user_tower: `UserTower` of the same width.
        feature_dim: int, width of the text features.
        temperature: float > 0, divides the scores in the loss. Defaults to 0.1.
        learn_temperature: bool. Defaults to True.
        task_options: further arguments of `RetrievalTask`: which negatives count. Defaults to none.
        num_priors: int, items that have a prior; 0 for a model without one. Defaults to 0.
        gradient_cache_rows: int ≥ 1, items that a training step embeds at a time, see
            `chunked_with_recompute`; the step then needs the memory of so many. Defaults to None,
            all at once.

    Raises: ValueError when an option is out of its bounds.

    Example:
        >>> model = TwoTowerModel(ItemTower(3, 4), UserTower("mean"), feature_dim=8)
        >>> model.embed_items(tf.ones((2, 8)), tf.constant([0, -1])).shape
        TensorShape([2, 4])

    Reference: Yi et al., 2019, doi:10.1145/3298689.3346996
    """

    kind = "two_tower"

    def __init__(
        self,
        item_tower: ItemTower,
        user_tower: UserTower,
        feature_dim: int,
        temperature: float = 0.1,
        learn_temperature: bool = True,
        task_options: Mapping[str, Any] | None = None,
        gradient_cache_rows: int | None = None,
        num_priors: int = 0,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        if gradient_cache_rows is not None and gradient_cache_rows < 1:
            raise ValueError(
                f"`gradient_cache_rows` must be at least 1, got {gradient_cache_rows!r}. "
                "Pass None to embed all items of a step at once."
            )
        self.item_tower = item_tower
        self.user_tower = user_tower
        self.feature_dim = feature_dim
        self.num_priors = num_priors
        self.embedding_dim = item_tower.embedding_dim + int(num_priors > 0)
        self.gradient_cache_rows = gradient_cache_rows
        self.task = RetrievalTask(
            temperature, learn_temperature, **(task_options or {}), name="task"
        )
        self.item_tower.build((None, feature_dim))
        self.user_tower.build((None, None, item_tower.embedding_dim))
        self.task.build((None, item_tower.embedding_dim))
        self.new_item_scale = self.add_weight(
            shape=(), initializer="ones", trainable=False, name="new_item_scale"
        )
        self.item_prior = (
            self.add_weight(
                shape=(num_priors,), initializer="zeros", trainable=False, name="item_prior"
            )
            if num_priors
            else None
        )
        self.built = True

    @property
    def similarity_mask(self) -> np.ndarray:
        """Returns float32 `(embedding_dim,)`, 1 for what likeness of two items is made of."""
        return (np.arange(self.embedding_dim) < self.item_tower.embedding_dim).astype(np.float32)

    @property
    def max_history(self) -> int:
        """Returns how many of the most recent items of a history are used."""
        return int(self.user_tower.max_history)

    @property
    def time_gaps(self) -> bool:
        """Returns whether users are also told apart by the time between the items they took."""
        return bool(self.user_tower.time_gaps)

    @property
    def served_variables(self) -> Sequence[Any]:
        """Returns what a trained model keeps: all but the queue and a language model in training.

        The latter is kept as an encoder of its own.
        """
        parts = (self.task.queue, self.item_tower.language_model)
        dropped = {id(v) for part in parts if part is not None for v in part.variables}
        return [v for v in self.variables if id(v) not in dropped]

    def set_start(self, start: ItemTowerStart) -> None:
        """Sets the item tower to a start computed by `towers.starts`."""
        self.item_tower.text_projection.set_start(start.centre, start.kernel, start.bias)
        if self.item_tower.id_embedding is not None:
            self.item_tower.id_embedding.set_vectors(start.id_table)

    def scale_prior(self, share: float) -> None:
        """Keeps that share, in [0, 1], of the prior of all items."""
        if self.item_prior is not None:
            self.item_prior.assign(self.item_prior.value * share)

    def embed_items(self, text_features: Any, item_numbers: Any) -> Any:
        """Embeds items, in the graph or eagerly.

        Args:
            text_features: float32 `(num_items, feature_dim)`.
            item_numbers: int32 `(num_items,)`, -1 for an item without a learned id.

        Returns: float32 `(num_items, embedding_dim)`, vectors of length 1, and the prior behind
            them if there is one; those of items without a learned id have no prior and the length
            `new_item_scale`, with which they are shown as often as they are wanted.
        """
        item_numbers = tf.convert_to_tensor(item_numbers)
        is_new = tf.cast(item_numbers < 0, tf.float32)
        scale = 1.0 + is_new * (self.new_item_scale.value - 1.0)
        vectors = self.item_tower(text_features, item_numbers) * scale[:, None]
        if self.item_prior is None:
            return vectors
        prior = tf.gather(self.item_prior.value, tf.maximum(item_numbers, 0)) * (1.0 - is_new)
        return tf.concat([vectors, prior[:, None]], axis=1)

    def embed_users(
        self,
        history_embeddings: Any,
        history_mask: Any,
        text_features: Any,
        text_mask: Any,
        gaps: Any = None,
    ) -> Any:
        """Embeds users, in the graph or eagerly.

        Args:
            history_embeddings: float32 `(batch, length, embedding_dim)`, oldest first.
            history_mask: bool `(batch, length)`; padding may stand anywhere.
            text_features: float32 `(batch, feature_dim)`.
            text_mask: bool `(batch,)`, True where there is a text.
            gaps: int32 `(batch, length)`, the time between each item and the one before it, see
                `time_gaps`; None: all are unknown.

        Returns: float32 `(batch, embedding_dim)`, vectors of length 1, or zeros for nothing known;
            where items have a prior, 1 follows for a user with a history, 0 for another.
        """
        text_embeddings = self.item_tower.embed_text(text_features)
        history = history_embeddings[..., : self.item_tower.embedding_dim]
        queries = self.user_tower(history, history_mask, text_embeddings, text_mask, gaps)
        if self.item_prior is None:
            return queries
        has_history = tf.reduce_any(tf.cast(history_mask, tf.bool), axis=1, keepdims=True)
        return tf.concat([queries, tf.cast(has_history, queries.dtype)], axis=1)

    def embed_corpus(
        self, text_features: np.ndarray, is_new: np.ndarray | None = None, batch_size: int = 4096
    ) -> np.ndarray:
        """Embeds a corpus whose item number is its row.

        Args:
            text_features: float32 `(num_items, feature_dim)`, may be memory-mapped.
            is_new: bool `(num_items,)`, items known by their text alone; None: none is.
            batch_size: int, items at a time.

        Returns: float32 `(num_items, embedding_dim)`, see `embed_items`.
        """
        num_items = len(text_features)
        numbers = np.arange(num_items, dtype=np.int32)
        if is_new is not None:
            numbers[np.asarray(is_new, bool)] = -1
        batch_size = batch_size if text_features.ndim == 2 else min(batch_size, TOKEN_BATCH)
        blocks = [
            self.embed_items(
                tf.constant(np.asarray(text_features[begin : begin + batch_size], np.float32)),
                tf.constant(numbers[begin : begin + batch_size]),
            ).numpy()
            for begin in range(0, num_items, batch_size)
        ]
        return np.concatenate(blocks) if blocks else np.zeros((0, self.embedding_dim), np.float32)

    def pool_corpus(self, text_features: np.ndarray) -> np.ndarray:
        """Returns one vector a text, as the pooling of the item tower stands.

        Args:
            text_features: float `(num_items, feature_dim)`, which comes back as it is, or
                `(num_items, tokens, feature_dim)`.

        Returns: float32 `(num_items, pooled_dim)`.
        """
        if text_features.ndim == 2:
            return text_features
        starts = range(0, len(text_features), TOKEN_BATCH)
        blocks = [text_features[i : i + TOKEN_BATCH].astype(np.float32) for i in starts]
        return np.concatenate([self.item_tower.pool_text(block).numpy() for block in blocks])

    def training_loss(self, batch: dict[str, Any]) -> Any:
        """Computes the loss of one batch of users; every position of a history is an example.

        Args:
            batch: a dict of
                `sequences` int32 `(batch, length + 1)`, item numbers, oldest first, -1 on the left;
                `user_features` float32 `(batch, feature_dim)` and `user_text_mask` bool `(batch,)`;
                `hide_history` bool `(batch,)`, True to learn from the text alone;
                `negatives` int32 `(num_negatives,)`, uniform draws from the corpus, of which items
                without training positives are asked for by text only;
                `corpus_features` float `(num_items, feature_dim)`, or token vectors
                `(num_items, tokens, feature_dim)`, or int32 tokens `(num_items, tokens)` for a
                language model in training, as `user_features` then too; augmented copies
                may follow, of which each item of the step takes one, see `variant_rows`;
                `positive_share` float32 `(num_items,)`, share of the training positives;
                `max_positives` int32, positions kept at most, drawn by `seed` int32 `(2,)`;
                `text_search_weight` float, optional, see `text_search_loss`; 0 leaves it out;
                `gaps` int32 `(batch, length + 1)`, optional, the time between each item and the one
                before it, see `time_gaps`; a share of the users is trained without, as requests
                may come without;
                `part` `ReplicaPart`, optional, what of the step is computed here.

        Returns: float32 scalar, the mean loss of a position, plus the weighted text search loss; of
            a part its share, which with those of the other parts adds up to that.
        """
        part = batch.get("part") or WholeStep()
        inputs, targets = batch["sequences"][:, :-1], batch["sequences"][:, 1:]
        history_mask = (inputs >= 0) & ~batch["hide_history"][:, None]
        known = history_mask | (batch["hide_history"] & batch["user_text_mask"])[:, None]
        places = tf.where(known & (targets >= 0))
        places = _sample_rows(places, batch["max_positives"], batch["seed"])
        positives = tf.gather_nd(targets, places)

        # Each item of the step is embedded once, wherever it stands.
        drawn = batch["negatives"]
        candidates = tf.concat([positives, drawn], axis=0)
        numbers, index = tf.unique(tf.concat([tf.reshape(inputs, [-1]), candidates], axis=0))
        corpus, num_items = batch["corpus_features"], batch["positive_share"].shape[0]
        rows = variant_rows(tf.maximum(numbers, 0), corpus, num_items, batch["seed"])
        embeddings = self._embed_for_training(corpus, rows, numbers, part)
        num_inputs = tf.size(inputs)
        places_of_inputs = tf.reshape(index[:num_inputs], tf.shape(inputs))
        history = tf.gather(embeddings, part.rows(places_of_inputs))

        gaps = batch.get("gaps")
        if gaps is not None:
            gaps = part.rows(_some_hidden(gaps[:, :-1], history_mask, batch["seed"]))
        user_features = _as_layers_read(part.rows(batch["user_features"]))
        text = self.item_tower.embed_text(user_features, training=True)
        queries = self.user_tower.at_every_position(
            history,
            part.rows(history_mask),
            text,
            part.rows(batch["user_text_mask"]),
            gaps,
            training=True,
        )
        own_places, labels = part.queries(places, tf.shape(inputs)[0])
        candidate_embeddings = tf.gather(embeddings, index[num_inputs:])
        # An item that nobody could take yet is no evidence that nobody wants it: as a negative it
        # would teach the text part to place all new items below the others.
        is_candidate = tf.concat(
            [tf.ones_like(positives, tf.bool), tf.gather(batch["positive_share"], drawn) > 0],
            axis=0,
        )
        loss = self.task(
            query_embeddings=tf.gather_nd(queries, own_places),
            candidate_embeddings=tf.boolean_mask(candidate_embeddings, is_candidate),
            candidate_ids=tf.boolean_mask(candidates, is_candidate),
            query_owners=tf.cast(places[:, 0], tf.int32),
            positive_share=batch["positive_share"],
            labels=labels,
        )
        weight = batch.get("text_search_weight", 0.0)
        if weight:
            loss += weight * self.text_search_loss(
                drawn,
                candidate_embeddings[tf.shape(positives)[0] :],
                corpus,
                batch["seed"],
                num_items,
                part,
            )
        return loss

    def _embed_for_training(
        self, corpus_features: Any, rows: Any, item_numbers: Any, part: WholeStep
    ) -> Any:
        def embed(rows: Any, item_numbers: Any) -> Any:
            features = _as_layers_read(tf.gather(corpus_features, rows))
            return self.item_tower(features, item_numbers, training=True)

        def embed_in_chunks(*inputs: Any) -> Any:
            chunk_rows = self.gradient_cache_rows
            assert chunk_rows is not None
            random_states = random_states_of(self.item_tower)
            return chunked_with_recompute(embed, inputs, chunk_rows, random_states)

        function = embed if self.gradient_cache_rows is None else embed_in_chunks
        return part.embed(function, [rows, item_numbers])

    def text_search_loss(
        self,
        item_numbers: Any,
        item_embeddings: Any,
        corpus_features: Any,
        seed: Any,
        corpus_size: int | None = None,
        part: WholeStep | None = None,
    ) -> Any:
        """Asks for items by their own text, part of it hidden; any item can be asked for.

        Clicks alone would let the text part of an item drift to where its readers are, and items
        without clicks with it. This keeps a request by text, and new items, at what they mean.

        Args:
            item_numbers: int32 `(num_items,)`, uniform draws from the corpus.
            item_embeddings: float32 `(num_items, embedding_dim)`, of the same items.
            corpus_features: float32 `(corpus_size, feature_dim)`, augmented copies may follow.
            seed: int32 `(2,)`, of what is hidden.
            corpus_size: int, where copies follow; None takes all rows.
            part: what of the step is computed here. Defaults to None, all of it.

        Returns: float32 scalar, the mean loss of a query; of a part its share.
        """
        part = part or WholeStep()
        num_queries = tf.minimum(tf.shape(item_numbers)[0], MAX_TEXT_QUERIES)
        corpus_size = corpus_features.shape[0] if corpus_size is None else corpus_size
        asked = item_numbers[:num_queries]
        rows = variant_rows(asked, corpus_features, corpus_size, seed, draw=1)
        features = _as_layers_read(tf.gather(corpus_features, part.rows(rows)))
        if features.dtype.is_integer:
            features = self.item_tower.pool_text(features, training=True)
        features = _with_some_hidden(features, num_queries, seed, part)
        texts = unit_length(self.item_tower.embed_text(features, training=True))
        uniform = tf.fill([corpus_size], 1.0 / corpus_size)
        # An item is what its own text asks for, and no other is: these negatives are no guesses.
        return self.task(
            texts,
            item_embeddings,
            item_numbers,
            tf.range(num_queries),
            uniform,
            plain=True,
            labels=part.labels(num_queries),
        )


def _as_layers_read(features: Any) -> Any:
    """Widens token vectors, which are kept in float16; tokens stay whole numbers."""
    return features if features.dtype.is_integer else tf.cast(features, tf.float32)


def _with_some_hidden(features: Any, num_queries: Any, seed: Any, part: WholeStep) -> Any:
    """Drops columns of text vectors, or whole tokens of token vectors.

    What is hidden is drawn for all queries of the step, so that no part of it differs.
    """
    if features.shape.rank == 2:
        ones = tf.ones([num_queries, tf.shape(features)[1]])
        scale = tf.nn.experimental.stateless_dropout(ones, TEXT_QUERY_DROPOUT, seed)
        return features * part.rows(scale)
    draws = tf.random.stateless_uniform([num_queries, tf.shape(features)[1]], seed)
    return tf.where(part.rows(draws)[..., None] >= TEXT_QUERY_DROPOUT, features, 0.0)


def _some_hidden(gaps: Any, history_mask: Any, seed: Any) -> Any:
    """Leaves a share of the users without any gap, drawn for the whole batch of a step."""
    own_seed = tf.random.experimental.stateless_fold_in(seed, _UNTIMED_DRAW)
    is_timed = tf.random.stateless_uniform([tf.shape(gaps)[0], 1], own_seed) >= UNTIMED_SHARE
    return tf.where(history_mask & is_timed, gaps, UNKNOWN)


def _sample_rows(rows: Any, max_rows: Any, seed: Any) -> Any:
    """Keeps at most `max_rows` rows, drawn at random."""

    def drawn() -> Any:
        order = tf.argsort(tf.random.stateless_uniform([tf.shape(rows)[0]], seed))
        return tf.gather(rows, order[:max_rows])

    return tf.cond(tf.shape(rows)[0] > max_rows, drawn, lambda: rows)
