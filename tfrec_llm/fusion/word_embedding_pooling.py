"""Word numbers → learned word vectors → one vector for a text."""

from __future__ import annotations

from typing import Any

from tfrec_llm.keras_api import keras, tf

NUMBER_BASE = 1024


@keras.saving.register_keras_serializable(package="tfrec_llm")
class WordEmbeddingPooling(keras.layers.Layer):
    """Looks up a learned vector for each word and takes their mean; padding never counts.

    The vectors start as seeded normal numbers of variance 1 / dim, about of length 1, so that
    the mean of an untrained layer is a random projection of the words of a text. A text without
    words gives zeros. Means are taken in float32.

    Args:
        num_words: int ≥ 1, words that have a vector.
        dim: int ≥ 1, width of the vectors.
        seed: int, of the start. Defaults to 0.

    Call arguments:
        token_embeddings: float `(batch, tokens, 2)`, numbers as `WordEmbeddingEncoder` gives them:
            word n is `(n // 1024 + 1, n % 1024)`.
        padding_mask: int or bool `(batch, tokens)`, not 0 for a word.

    Returns: float32 `(batch, dim)`.

    Raises: ValueError when `num_words` or `dim` is below 1.

    Example:
        >>> layer = WordEmbeddingPooling(num_words=3, dim=2)
        >>> numbers = keras.ops.array([[[1.0, 2.0], [0.0, 0.0]]])
        >>> layer(numbers, keras.ops.array([[1, 0]])).shape
        TensorShape([1, 2])
    """

    def __init__(self, num_words: int, dim: int, seed: int = 0, **kwargs: Any) -> None:
        super().__init__(autocast=False, **kwargs)
        if num_words < 1 or dim < 1:
            raise ValueError(
                f"`num_words` and `dim` must be at least 1, got {num_words!r} and {dim!r}"
            )
        self.num_words = num_words
        self.dim = dim
        self.seed = seed

    def build(self, *_: Any) -> None:
        """Makes the table of word vectors."""
        start = keras.initializers.RandomNormal(stddev=self.dim**-0.5, seed=self.seed)
        self.table = self.add_weight(
            shape=(self.num_words, self.dim), initializer=start, dtype="float32", name="words"
        )
        self.built = True

    def call(self, token_embeddings: Any, padding_mask: Any) -> Any:
        """Averages over the words."""
        is_word = keras.ops.cast(padding_mask, "bool")
        numbers = tf.cast(tf.where(is_word[..., None], token_embeddings, 0), tf.int32)
        numbers = (numbers[..., 0] - 1) * NUMBER_BASE + numbers[..., 1]
        # Only words are looked up: most of a padded batch is none.
        rows, _ = tf.unstack(tf.where(is_word), num=2, axis=1)
        vectors = tf.gather(self.table.value, tf.boolean_mask(numbers, is_word))
        num_texts = tf.shape(is_word)[0]
        total = tf.math.unsorted_segment_sum(vectors, rows, num_texts)
        count = tf.reduce_sum(tf.cast(is_word, tf.float32), axis=1, keepdims=True)
        return total / tf.maximum(count, 1.0)

    def compute_output_shape(self, *shapes: Any, **_: Any) -> tuple[int | None, int]:
        """Returns `(batch, dim)`."""
        return shapes[0][0] if shapes else None, self.dim

    def compute_output_spec(self, token_embeddings: Any, padding_mask: Any) -> Any:
        """Says that the result is float32 under every dtype policy."""
        return keras.KerasTensor((token_embeddings.shape[0], self.dim), dtype="float32")

    def get_config(self) -> dict[str, Any]:
        """Returns the constructor arguments."""
        return {
            **super().get_config(),
            "num_words": self.num_words,
            "dim": self.dim,
            "seed": self.seed,
        }
