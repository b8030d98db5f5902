"""The network of SASRec: item ids in order → what the user wants next, at every position."""

from __future__ import annotations

from typing import Any

from tfrec_llm.keras_api import keras, tf

_MASKED = -1e9


class SasrecNetwork(keras.Model):
    """Item and position embeddings under causal self-attention; the output shares the item table.

    The published network: queries of the attention are normalised, keys and values are not, and
    the residual branches start from the normalised side. Positions count from the newest item, so
    padding on the left changes nothing.

    Args:
        num_items: int >= 1, size of the corpus.
        embedding_dim: int, width throughout. Defaults to 128.
        max_history: int, positions that have an embedding. Defaults to 50.
        num_blocks: int, self-attention blocks. Defaults to 2.
        num_heads: int; must divide `embedding_dim`. Defaults to 1.
        dropout: float in [0, 1), of embeddings, attention weights and feed-forward layers.
            Defaults to 0.5.

    Call arguments:
        sequences: int32 `(batch, length)`, item numbers, oldest first, -1 padding on the left;
            length at most `max_history`.
        training: bool, whether drop-out is on.

    Returns: float32 `(batch, length, embedding_dim)`; its dot product with a row of `items` is the
        score of that item. What stands at padding means nothing.

    Raises: ValueError when `num_heads` does not divide `embedding_dim`.

    Example:
        >>> network = SasrecNetwork(num_items=3, embedding_dim=4)
        >>> network(tf.constant([[-1, 2, 0]])).shape
        TensorShape([1, 3, 4])

    Reference: Kang & McAuley, 2018, arXiv:1808.09781
    """

    def __init__(
        self,
        num_items: int,
        embedding_dim: int = 128,
        max_history: int = 50,
        num_blocks: int = 2,
        num_heads: int = 1,
        dropout: float = 0.5,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        if embedding_dim % num_heads:
            raise ValueError(
                f"`num_heads` must divide `embedding_dim`, got {num_heads} heads for a width of "
                f"{embedding_dim}."
            )
        self.embedding_dim = embedding_dim
        self.items = self.add_weight(shape=(num_items, embedding_dim), name="items")
        self.positions = self.add_weight(shape=(max_history, embedding_dim), name="positions")
        self.drop = keras.layers.Dropout(dropout)
        self.blocks = [
            {
                "query_norm": keras.layers.LayerNormalization(epsilon=1e-6),
                "attention": keras.layers.MultiHeadAttention(
                    num_heads, embedding_dim // num_heads, dropout=dropout
                ),
                "norm": keras.layers.LayerNormalization(epsilon=1e-6),
                "hidden": keras.layers.Dense(embedding_dim, activation="relu"),
                "output": keras.layers.Dense(embedding_dim),
            }
            for _ in range(num_blocks)
        ]
        self.last_norm = keras.layers.LayerNormalization(epsilon=1e-6)

    def call(self, sequences: Any, training: bool = False) -> Any:
        """Runs the blocks."""
        length = tf.shape(sequences)[1]
        is_item = sequences >= 0
        age = tf.range(length - 1, -1, -1)
        vectors = tf.gather(self.items.value, tf.maximum(sequences, 0))
        vectors = vectors * self.embedding_dim**0.5 + tf.gather(self.positions.value, age)
        vectors = self.drop(vectors, training=training)
        # Nobody sees padding but itself, so that its softmax is over something.
        sees = (age[:, None] <= age[None, :]) & is_item[:, None, :] | tf.eye(length, dtype=tf.bool)
        for block in self.blocks:
            query = block["query_norm"](vectors)
            attended = block["attention"](query, vectors, attention_mask=sees, training=training)
            vectors = block["norm"](query + attended)
            hidden = self.drop(block["hidden"](vectors), training=training)
            vectors = vectors + self.drop(block["output"](hidden), training=training)
        return self.last_norm(vectors)

    def sampled_softmax_loss(self, windows: Any, negatives: Any) -> Any:
        """Returns the mean cross-entropy of the next item at every position, drop-out on.

        Each positive competes with the same negatives, drawn without repetition. A draw stands
        for `num_items / num_negatives` items, by which its exponential is multiplied (logQ); so
        the sum over the corpus is met in expectation, and exactly where all items are drawn.

        Args:
            windows: int32 `(batch, length + 1)`, oldest first, -1 padding on the left.
            negatives: int32 `(num_negatives,)`, different items.

        Returns: float32 scalar; 0 where no position has a next item.

        Reference: Klenitskiy & Vasilev, 2023, arXiv:2309.07602; Jean et al., 2015,
        arXiv:1412.2007
        """
        inputs, targets = windows[:, :-1], windows[:, 1:]
        places = tf.where(inputs >= 0)
        queries = tf.gather_nd(self(inputs, training=True), places)
        wanted = tf.gather_nd(targets, places)
        table = self.items.value
        positive = tf.reduce_sum(queries * tf.gather(table, wanted), axis=1)
        scores = tf.matmul(queries, tf.gather(table, negatives), transpose_b=True)
        share = tf.cast(tf.size(negatives), tf.float32) / float(table.shape[0])
        is_wanted = negatives[None, :] == wanted[:, None]
        scores = tf.where(is_wanted, _MASKED, scores - tf.math.log(share))
        losses = tf.nn.softplus(tf.reduce_logsumexp(scores, axis=1) - positive)
        return tf.math.divide_no_nan(tf.reduce_sum(losses), tf.cast(tf.size(wanted), tf.float32))
