"""Matrix factorisation whose items also have a text; users are folded in from their history."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from tfrec_llm.keras_api import keras, tf
from tfrec_llm.losses.bpr_loss import bpr_loss
from tfrec_llm.losses.warp_loss import warp_loss
from tfrec_llm.models.factor_start import FactorStart
from tfrec_llm.models.retrieval_task import RetrievalTask
from tfrec_llm.models.variant_rows import variant_rows
from tfrec_llm.towers.fold_in import fold_in, inverse_gram
from tfrec_llm.towers.id_embedding import IdEmbedding
from tfrec_llm.towers.text_projection import TextProjection

LOSSES = ("bpr", "warp", "softmax")


class MatrixFactorisation(keras.Model):
    """Scores a user and an item by the dot product of their vectors.

    An item is text part + id part, and of any length: a popular item is a long one, so there is no
    bias beside it, and every index of dot products serves it. In training a user is a row of a
    table + a linear map of the mean of what else is known: the other items of the history and
    the text. When served, nobody has a row: the vector is solved from the history by `fold_in`,
    where a text counts as one more item taken, the item that this text would describe. The same is
    measured in evaluations. `embed_corpus` renews what the fold-in knows of the items.

    Args:
        num_items: int, items with an id part.
        embedding_dim: int. Defaults to 128.
        feature_dim: int, width of the text features.
        num_users: int, rows of the user table; 0 for a model that is served, not trained.
        max_history: int, the most items of a history that are used. Defaults to 50.
        loss: `bpr`, `warp` or `softmax`. Defaults to `softmax`.
        temperature: float > 0, divides the scores in the loss. Defaults to 0.1.
        learn_temperature: bool, of `softmax`. Defaults to True.
        item_id_dropout: float in [0, 1), share of ids dropped in a training step. Defaults to 0.4.
        dropout: float in [0, 1), inside the text network. Defaults to 0.3.
        seed: int, of the id drop-out. Defaults to 0.

    Raises: ValueError when `loss` is not one of the three, or a size is not above 0.

    Example:
        >>> model = MatrixFactorisation(num_items=3, embedding_dim=4, feature_dim=8)
        >>> model.embed_items(tf.ones((2, 8)), tf.constant([0, -1])).shape
        TensorShape([2, 4])

    Reference: Koren et al., 2009, doi:10.1109/MC.2009.263; Hu et al., 2008,
    doi:10.1109/ICDM.2008.22
    """

    kind = "matrix_factorisation"
    time_gaps = False

    def __init__(
        self,
        num_items: int,
        embedding_dim: int = 128,
        *,
        feature_dim: int,
        num_users: int = 0,
        max_history: int = 50,
        loss: str = "softmax",
        temperature: float = 0.1,
        learn_temperature: bool = True,
        item_id_dropout: float = 0.4,
        dropout: float = 0.3,
        seed: int = 0,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        if loss not in LOSSES:
            raise ValueError(f"`loss` must be one of {', '.join(LOSSES)}, got {loss!r}.")
        for name, size in (("num_items", num_items), ("embedding_dim", embedding_dim)):
            if size < 1:
                raise ValueError(f"`{name}` must be at least 1, got {size!r}.")
        self.num_items = num_items
        self.embedding_dim = embedding_dim
        self.feature_dim = feature_dim
        self.num_users = num_users
        self.max_history = max_history
        self.loss_name = loss
        self.temperature = temperature
        self.text_projection = TextProjection(embedding_dim, dropout=dropout, name="text")
        self.id_embedding = IdEmbedding(num_items, embedding_dim, item_id_dropout, seed, name="ids")
        self.text_projection.build((None, feature_dim))
        self.id_embedding.build()
        self.item_covariance = self.add_weight(
            shape=(embedding_dim, embedding_dim),
            initializer="identity",
            trainable=False,
            name="item_covariance",
        )
        self.fold_in_settings = self.add_weight(
            shape=(2,), initializer="ones", trainable=False, name="fold_in_settings"
        )
        self.fold_in_settings.assign([FactorStart.confidence, FactorStart.regularisation])
        if num_users:
            self._build_for_training(temperature, learn_temperature)
        self.built = True

    def _build_for_training(self, temperature: float, learn_temperature: bool) -> None:
        self.user_embedding = IdEmbedding(self.num_users, self.embedding_dim, name="users")
        self.side = keras.layers.Dense(
            self.embedding_dim, use_bias=False, kernel_initializer="zeros", name="side"
        )
        self.score_scale = self.add_weight(
            shape=(), initializer="ones", trainable=False, name="score_scale"
        )
        self.user_embedding.build()
        self.side.build((None, self.embedding_dim))
        self.task: Any = None
        if self.loss_name == "softmax":
            self.task = RetrievalTask(temperature, learn_temperature, name="task")
            self.task.build()

    @property
    def served_variables(self) -> Sequence[Any]:
        """Returns what embeds users and items; the table of users is not part of it."""
        return [
            *self.text_projection.weights,  # without the states of drop-out
            *self.id_embedding.weights,
            self.item_covariance,
            self.fold_in_settings,
        ]

    @property
    def similarity_mask(self) -> np.ndarray:
        """Returns float32 `(embedding_dim,)`, ones: likeness is made of all of a vector."""
        return np.ones(self.embedding_dim, np.float32)

    @property
    def architecture(self) -> dict[str, Any]:
        """Returns the constructor arguments of the model as it is served, JSON values."""
        return {
            "num_items": self.num_items,
            "embedding_dim": self.embedding_dim,
            "feature_dim": self.feature_dim,
            "max_history": self.max_history,
        }

    def set_start(self, start: FactorStart) -> None:
        """Sets all weights that a start speaks of."""
        self.user_embedding.table.assign(start.user_table)
        self.id_embedding.table.assign(start.id_table)
        self.text_projection.set_start(start.centre, start.kernel, start.bias)
        self.score_scale.assign(start.score_scale)
        self.fold_in_settings.assign([start.confidence, start.regularisation])

    def embed_items(self, text_features: Any, item_numbers: Any, training: bool = False) -> Any:
        """Embeds items, in the graph or eagerly.

        Args:
            text_features: float32 `(num_items, feature_dim)`.
            item_numbers: int32 `(num_items,)`, -1 for an item without a learned id.
            training: bool, whether drop-out is on.

        Returns: float32 `(num_items, embedding_dim)`, of any length.
        """
        text = self.text_projection(text_features, training=training)
        return text + self.id_embedding(item_numbers, training=training)

    def embed_users(
        self, history_embeddings: Any, history_mask: Any, text_features: Any, text_mask: Any
    ) -> Any:
        """Folds users in, in the graph or eagerly.

        Args:
            history_embeddings: float32 `(batch, length, embedding_dim)`, in any order.
            history_mask: bool `(batch, length)`; padding may stand anywhere.
            text_features: float32 `(batch, feature_dim)`.
            text_mask: bool `(batch,)`, True where there is a text.

        Returns: float32 `(batch, embedding_dim)`, zeros where nothing is known.
        """
        text = self.text_projection(text_features)[:, None, :]
        return fold_in(
            tf.concat([history_embeddings, text], axis=1),
            tf.concat([history_mask, text_mask[:, None]], axis=1),
            self.item_covariance.value,
            self.fold_in_settings.value[0],
        )

    def embed_corpus(
        self, text_features: np.ndarray, is_new: np.ndarray | None = None, batch_size: int = 4096
    ) -> np.ndarray:
        """Embeds a corpus whose item number is its row, and keeps what the fold-in needs of it.

        Args:
            text_features: float32 `(num_items, feature_dim)`, may be memory-mapped.
            is_new: bool `(num_items,)`, items known by their text alone; None: none is.
            batch_size: int, items at a time.

        Returns: float32 `(num_items, embedding_dim)`.
        """
        num_items = len(text_features)
        blocks = [np.zeros((0, self.embedding_dim), np.float32)]
        for begin in range(0, num_items, batch_size):
            block = np.asarray(text_features[begin : begin + batch_size], np.float32)
            numbers = np.arange(begin, begin + len(block), dtype=np.int32)
            if is_new is not None:
                numbers = np.where(is_new[begin : begin + len(block)], -1, numbers)
            blocks.append(self.embed_items(tf.constant(block), tf.constant(numbers)).numpy())
        vectors = np.concatenate(blocks)
        share = float(self.fold_in_settings.value[1])
        square = float(np.square(vectors, dtype=np.float64).sum()) / self.embedding_dim
        self.item_covariance.assign(inverse_gram(vectors, share * square + 1e-6))
        return vectors

    def training_loss(self, batch: dict[str, Any]) -> Any:
        """Computes the loss of one batch; every item of a history is an example.

        Args:
            batch: as `TwoTowerModel.training_loss` has it, with `user_numbers` int32 `(batch,)`,
                the rows of the user table; `text_search_weight` is not used.

        Returns: float32 scalar, the mean loss of a positive.

        Raises: ValueError for a model without a user table.
        """
        if not self.num_users:
            raise ValueError("A model with `num_users=0` is for serving. Pass the number of users.")
        sequences = batch["sequences"]
        # An item that nobody could take yet is no evidence that nobody wants it.
        was_taken = tf.gather(batch["positive_share"], batch["negatives"]) > 0.0
        negatives = tf.boolean_mask(batch["negatives"], was_taken)
        places = tf.where(sequences >= 0)
        places = _sample_rows(places, batch["max_positives"], batch["seed"])
        positives, owners = tf.gather_nd(sequences, places), tf.cast(places[:, 0], tf.int32)

        # Each item of the step is embedded once, wherever it stands.
        listed = tf.concat([tf.reshape(sequences, [-1]), negatives], axis=0)
        numbers, index = tf.unique(listed)
        corpus, num_items = batch["corpus_features"], batch["positive_share"].shape[0]
        rows = variant_rows(tf.maximum(numbers, 0), corpus, num_items, batch["seed"])
        features = tf.gather(corpus, rows)
        features = tf.cast(features, tf.float32)
        embeddings = self.embed_items(features, numbers, training=True)
        num_inputs = tf.size(sequences)
        history = tf.gather(embeddings, tf.reshape(index[:num_inputs], tf.shape(sequences)))
        positive_embeddings = tf.gather_nd(history, places)
        negative_embeddings = tf.gather(embeddings, index[num_inputs:])

        queries = self._training_users(batch, history, positive_embeddings, owners)
        if self.loss_name == "softmax":
            return self.task(
                query_embeddings=queries,
                candidate_embeddings=tf.concat([positive_embeddings, negative_embeddings], axis=0),
                candidate_ids=tf.concat([positives, negatives], axis=0),
                query_owners=owners,
                positive_share=batch["positive_share"],
            )
        taken = tf.reduce_any(sequences[:, :, None] == negatives[None, None, :], axis=1)
        arguments = (
            tf.reduce_sum(queries * positive_embeddings, axis=1) / self.temperature,
            tf.matmul(queries, negative_embeddings, transpose_b=True) / self.temperature,
            ~tf.gather(taken, owners),
        )
        if self.loss_name == "bpr":
            return bpr_loss(*arguments)
        return warp_loss(*arguments, num_items=tf.constant(num_items))

    def _training_users(self, batch: dict[str, Any], history: Any, own: Any, owners: Any) -> Any:
        """Returns the users of the positives, none of whom sees the positive itself."""
        shown = ~batch["hide_history"]
        is_item = tf.cast((batch["sequences"] >= 0) & shown[:, None], tf.float32)
        has_text = tf.cast(batch["user_text_mask"], tf.float32)
        text = self.text_projection(tf.cast(batch["user_features"], tf.float32), training=True)
        total = tf.einsum("bld,bl->bd", history, is_item) + text * has_text[:, None]
        count = tf.reduce_sum(is_item, axis=1) + has_text
        rows = self.user_embedding(tf.where(shown, batch["user_numbers"], -1))

        is_shown = tf.gather(tf.cast(shown, tf.float32), owners)
        others = tf.gather(total, owners) - own * is_shown[:, None]
        mean = others / tf.maximum(tf.gather(count, owners) - is_shown, 1.0)[:, None]
        return (tf.gather(rows, owners) + self.side(mean)) * self.score_scale.value


def _sample_rows(rows: Any, max_rows: Any, seed: Any) -> Any:
    """Keeps at most `max_rows` rows, drawn at random."""

    def drawn() -> Any:
        order = tf.argsort(tf.random.stateless_uniform([tf.shape(rows)[0]], seed))
        return tf.gather(rows, order[:max_rows])

    return tf.cond(tf.shape(rows)[0] > max_rows, drawn, lambda: rows)
