"""Texts → word numbers, for word vectors that are learned with the towers."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from tfrec_llm.encoders.encode_blocks import encode_blocks
from tfrec_llm.encoders.encoder_folder import new_encoder_folder, read_encoder_folder
from tfrec_llm.encoders.word_vocabulary import WordVocabulary
from tfrec_llm.errors import UsageError
from tfrec_llm.fusion.word_embedding_pooling import NUMBER_BASE
from tfrec_llm.keras_api import tf
from tfrec_llm.progress import Progress

_FORMAT = 1


class WordEmbeddingEncoder(tf.Module):
    """Gives the numbers of the words of a text; `WordEmbeddingPooling` learns their vectors.

    A number n stands as the two features `(n // 1024 + 1, n % 1024)`, since features of tokens
    are kept in float16, which is exact for whole numbers up to 2048 only. Zeros are padding.
    Unknown words are left out before a text is cut.

    Args:
        vocabulary: the words, 2,000,000 at most.
        max_tokens: int ≥ 1, words of a text that are read. Defaults to 64.

    Raises: UsageError when `max_tokens` is below 1 or the vocabulary too large.

    Example:
        >>> encoder = WordEmbeddingEncoder.fit(["the sea", "the rock"], max_tokens=3)
        >>> encoder.encode(["rock the boat"])[0].tolist()
        [[1.0, 1.0], [1.0, 0.0], [0.0, 0.0]]
    """

    dim = 2

    def __init__(self, vocabulary: WordVocabulary, max_tokens: int = 64) -> None:
        super().__init__(name="word_embedding")
        if max_tokens < 1:
            raise UsageError(f"`max_tokens` must be at least 1, got {max_tokens!r}")
        if len(vocabulary) > 2_000_000:
            raise UsageError(
                f"The vocabulary has {len(vocabulary)} words, 2000000 at most can be numbered. "
                "Lower encoder.num_words."
            )
        self.vocabulary = vocabulary
        self.max_tokens = max_tokens
        self.num_tokens = max_tokens
        self._embed = tf.function(
            self._embed_in_graph,
            input_signature=[tf.TensorSpec([None], tf.string)],
            autograph=False,
        )

    @classmethod
    def fit(
        cls,
        texts: Sequence[str],
        num_words: int = 20_000,
        max_tokens: int = 64,
        *,
        clean: str = "none",
        stop_words: Sequence[str] = (),
    ) -> WordEmbeddingEncoder:
        """Takes the most frequent words of a corpus.

        Args:
            texts: n str, the corpus.
            num_words: int ≥ 1, words that are kept.
            max_tokens: int ≥ 1, words of a text that are read.
            clean: level of `text.clean_text`.
            stop_words: str that `clean="full"` leaves out too.

        Raises: EncoderError when no text holds a word; UsageError when a number is below 1.
        """
        vocabulary = WordVocabulary.fit(texts, num_words, clean=clean, stop_words=stop_words)
        return cls(vocabulary, max_tokens)

    @property
    def num_words(self) -> int:
        """Words of the vocabulary, which a `WordEmbeddingPooling` has vectors for."""
        return len(self.vocabulary)

    @property
    def variables(self) -> list[Any]:
        """None: an empty list. The vectors belong to the towers."""
        return []

    @property
    def fingerprint(self) -> str:
        """Hex sha256 of all that shapes the features, equal in every process."""
        settings = [_FORMAT, "word_embedding", self.vocabulary.sha256, self.max_tokens]
        return hashlib.sha256(json.dumps(settings).encode()).hexdigest()

    def embed(self, texts: Any) -> Any:
        """Encodes a tensor of texts; works inside a graph.

        Args:
            texts: string `(batch,)`.

        Returns: float32 `(batch, max_tokens, 2)`.
        """
        return self._embed(texts)

    def encode(
        self, texts: list[str], *, batch_size: int = 32, progress: Progress | None = None
    ) -> np.ndarray:
        """Encodes many texts: float16 `(n, max_tokens, 2)`; see `encode_blocks`."""
        return encode_blocks(self, texts, batch_size=batch_size, progress=progress)

    def save(self, folder: str | Path) -> None:
        """Writes the encoder as one self-contained folder, whole or not at all.

        Raises: UsageError when the folder holds something.
        """
        settings: dict[str, Any] = {"max_tokens": self.max_tokens}
        with new_encoder_folder(folder, "word_embedding", settings) as temporary:
            settings.update(self.vocabulary.save(temporary))

    @classmethod
    def load(cls, folder: str | Path) -> WordEmbeddingEncoder:
        """Reads what `save` wrote.

        Raises: EncoderError when the folder is none; CorruptFileError when a file in it changed.
        """
        about = read_encoder_folder(folder, "word_embedding")
        return cls(WordVocabulary.load(Path(folder), about), about["max_tokens"])

    def _embed_in_graph(self, texts: Any) -> Any:
        numbers = self.vocabulary.numbers(texts)[:, : self.max_tokens]
        padded = numbers.to_tensor(-NUMBER_BASE, shape=[None, self.max_tokens])
        high, low = padded // NUMBER_BASE + 1, padded % NUMBER_BASE
        return tf.cast(tf.stack([high, low], axis=2), tf.float32)
