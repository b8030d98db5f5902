"""Smooth inverse frequency: common tokens weigh less."""

from __future__ import annotations

from typing import Any

import numpy as np

from tfrec_llm.fusion.pooling_layer import PoolingLayer
from tfrec_llm.fusion.visible_tokens import visible_tokens
from tfrec_llm.keras_api import keras, tf


@keras.saving.register_keras_serializable(package="tfrec_llm")
class SifPooling(PoolingLayer):
    """The mean of the token vectors, each multiplied by a / (a + p(token)).

    p is the share of a token among all tokens of the corpus, kept in a table that is a plain
    weight of the layer. Before `adapt` it is zero for every token, and the layer is the mean. The
    direction that all texts share can be taken off afterwards. A text without tokens gives zeros.

    Args:
        vocabulary_size: int >= 1, rows of the table; None when `build_table` or `adapt` will say
            so before the first call. Defaults to None.
        smoothing: float > 0, the a above. Defaults to 1e-3.
        remove_common_direction: bool, whether vectors lose their part along the direction that
            `adapt_common_direction` found. Defaults to False.

    Call arguments:
        token_embeddings: float `(batch, tokens, dim)`. Whatever stands at padding, even NaN, is
            left out.
        padding_mask: int or bool `(batch, tokens)`, not 0 for a token.
        token_ids: int `(batch, tokens)`, in [0, vocabulary_size); anything at padding.

    Returns: float32 `(batch, dim)`.

    Raises: ValueError when an argument is out of its bounds, or the table has no size yet.

    Example:
        >>> layer = SifPooling(smoothing=0.25)
        >>> layer.adapt(np.array([3, 1]))
        >>> tokens = keras.ops.array([[[4.0], [8.0]]])
        >>> layer(tokens, keras.ops.array([[1, 1]]), keras.ops.array([[0, 1]])).numpy()
        array([[2.5]], dtype=float32)

    Reference: Arora et al., 2017, A simple but tough-to-beat baseline for sentence embeddings,
    ICLR
    """

    def __init__(
        self,
        vocabulary_size: int | None = None,
        smoothing: float = 1e-3,
        remove_common_direction: bool = False,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        if smoothing <= 0.0:
            raise ValueError(f"`smoothing` must be above 0, got {smoothing!r}.")
        self.vocabulary_size = vocabulary_size
        self.smoothing = smoothing
        self.remove_common_direction = remove_common_direction
        self.token_probabilities: Any = None
        self.common_direction: Any = None

    def build_table(self, vocabulary_size: int) -> None:
        """Makes the table, once; the layer itself is built by its first call.

        Args:
            vocabulary_size: int >= 1, number of token ids.

        Raises: ValueError when it is below 1, or the table is there with another size.
        """
        if vocabulary_size < 1:
            raise ValueError(f"`vocabulary_size` must be at least 1, got {vocabulary_size!r}.")
        if self.token_probabilities is not None:
            if vocabulary_size != self.vocabulary_size:
                raise ValueError(
                    f"The table holds {self.vocabulary_size} tokens, got {vocabulary_size}. Give "
                    "the counts of the same vocabulary."
                )
            return
        self.vocabulary_size = int(vocabulary_size)
        self.token_probabilities = self._frozen_weight(self.vocabulary_size, "token_probabilities")

    def build(self, token_embeddings_shape: tuple[int | None, ...], *_: Any) -> None:
        """Makes the table where `build_table` did not, and the common direction."""
        if self.vocabulary_size is None:
            raise ValueError(
                "SIF pooling needs a table of token probabilities. Give `vocabulary_size`, or call "
                "`build_table` or `adapt` first."
            )
        self.build_table(self.vocabulary_size)
        if self.remove_common_direction:
            dim = token_embeddings_shape[-1]
            self.common_direction = self._frozen_weight(dim, "common_direction")
        self.built = True

    def call(self, token_embeddings: Any, padding_mask: Any, token_ids: Any) -> Any:
        """Averages over the tokens."""
        tokens, is_token = visible_tokens(token_embeddings, padding_mask)
        token_ids = tf.where(is_token, tf.cast(token_ids, tf.int32), 0)
        probability = tf.gather(self.token_probabilities.value, token_ids)
        weights = self.smoothing / (self.smoothing + probability)
        num_tokens = keras.ops.sum(keras.ops.cast(is_token, "float32"), axis=1)
        total = keras.ops.sum(tokens * weights[..., None], axis=1)
        vectors = total / keras.ops.maximum(num_tokens, 1.0)[:, None]
        if self.common_direction is None:
            return vectors
        direction = self.common_direction.value
        return vectors - tf.linalg.matvec(vectors, direction)[:, None] * direction

    def adapt(self, token_counts: np.ndarray) -> None:
        """Sets the table from how often each token stands in a corpus.

        Args:
            token_counts: int or float >= 0 `(vocabulary_size,)`, by token id.

        Raises: ValueError when the counts are not of that kind or all zero.
        """
        counts = np.asarray(token_counts, np.float64)
        if counts.ndim != 1 or not np.isfinite(counts).all() or (counts < 0).any():
            raise ValueError(
                f"`token_counts` must be a row of finite numbers from 0 up, got shape "
                f"{counts.shape} and values from {counts.min(initial=0.0)}."
            )
        if not counts.sum() > 0:
            raise ValueError("`token_counts` are all zero: count the tokens of some text.")
        self.build_table(len(counts))
        self.token_probabilities.assign((counts / counts.sum()).astype(np.float32))

    def adapt_common_direction(self, vectors: np.ndarray) -> None:
        """Sets the common direction: the first right singular vector of the texts' vectors.

        Args:
            vectors: float `(num_texts, dim)`, answers of this layer before this call.

        Raises: ValueError when the layer does not remove a direction, or was not called yet.
        """
        if self.common_direction is None:
            raise ValueError(
                "There is no common direction to set. Make the layer with "
                "`remove_common_direction=True` and call it once first."
            )
        vectors = np.asarray(vectors, np.float64)
        _, directions = np.linalg.eigh(vectors.T @ vectors)
        self.common_direction.assign(directions[:, -1].astype(np.float32))

    def get_config(self) -> dict[str, Any]:
        """Returns the constructor arguments."""
        return {
            **super().get_config(),
            "vocabulary_size": self.vocabulary_size,
            "smoothing": self.smoothing,
            "remove_common_direction": self.remove_common_direction,
        }

    def _frozen_weight(self, size: int | None, name: str) -> Any:
        return self.add_weight(
            shape=(size,),
            initializer="zeros",
            dtype="float32",
            autocast=False,
            trainable=False,
            name=name,
        )
