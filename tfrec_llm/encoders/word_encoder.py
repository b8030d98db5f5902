"""Texts → weighted counts of their words: one-hot, TF-IDF and BM25, with few columns."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from scipy import sparse
from sklearn.decomposition import TruncatedSVD

from tfrec_llm.encoders.encode_blocks import encode_blocks
from tfrec_llm.encoders.encoder_folder import new_encoder_folder, read_encoder_folder
from tfrec_llm.encoders.word_vocabulary import BLOCK_TEXTS, WordVocabulary, string_tensor
from tfrec_llm.errors import UsageError
from tfrec_llm.keras_api import tf
from tfrec_llm.progress import Progress

WORD_WEIGHTS = ("one_hot", "tfidf", "bm25")

_FORMAT = 1
_K1, _B = 1.2, 0.75


class WordEncoder(tf.Module):
    """Weighs the words of a text and sums their rows of a table; rows come from an SVD (LSA).

    - `one_hot`: 1 for a word that occurs, as in a binary bag of words.
    - `tfidf`: (1 + ln count) · idf with idf = ln((1 + n) / (1 + df)) + 1, all to unit length.
    - `bm25`: idf · count · (k1 + 1) / (count + k1 · (1 - b + b · length / mean length)) with
      idf = ln(1 + (n - df + 0.5) / (df + 0.5)), k1 = 1.2, b = 0.75.

    A text without a known word gives zeros. Hold the encoder as an attribute of a `tf.Module` that
    is exported: table and vocabulary are tracked through it.

    Args:
        kind: one of `WORD_WEIGHTS`.
        vocabulary: the words, `num_words` of them.
        idf: float32 `(num_words,)`, weight of each word; ones for `one_hot`.
        table: float32 `(num_words, dim)`, row of each word.
        mean_length: float > 0, words of a mean text of the corpus; for `bm25`.

    Raises: UsageError when `kind` is unknown or a shape does not fit the vocabulary.

    Example:
        >>> encoder = WordEncoder.fit("tfidf", ["blue sea", "red rock", "sea food"], dim=8)
        >>> encoder.encode(["sea food", "SEA", "unknown"]).round(2).tolist()[1:]
        [[1.0, 0.0, 0.0, 0.0, 0.0], [0.0, 0.0, 0.0, 0.0, 0.0]]
    """

    num_tokens = None

    def __init__(
        self,
        kind: str,
        vocabulary: WordVocabulary,
        idf: np.ndarray,
        table: np.ndarray,
        mean_length: float = 1.0,
    ) -> None:
        super().__init__(name="word_encoder")
        if kind not in WORD_WEIGHTS:
            raise UsageError(f"`kind` must be one of {', '.join(WORD_WEIGHTS)}, got {kind!r}")
        if len(idf) != len(vocabulary) or len(table) != len(vocabulary):
            raise UsageError(
                f"`idf` and `table` need {len(vocabulary)} rows, one a word of the vocabulary; got "
                f"{len(idf)} and {len(table)}"
            )
        self.kind = kind
        self.vocabulary = vocabulary
        self.mean_length = float(mean_length)
        self.dim = int(table.shape[1])
        self._idf = tf.Variable(np.asarray(idf, np.float32), trainable=False, name="idf")
        self._rows = tf.Variable(np.asarray(table, np.float32), trainable=False, name="table")
        self._embed = tf.function(
            self._embed_in_graph,
            input_signature=[tf.TensorSpec([None], tf.string)],
            autograph=False,
        )

    @classmethod
    def fit(
        cls,
        kind: str,
        texts: Sequence[str],
        num_words: int = 20_000,
        dim: int = 256,
        seed: int = 0,
        *,
        clean: str = "none",
        stop_words: Sequence[str] = (),
    ) -> WordEncoder:
        """Counts the words of a corpus and reduces them to few columns.

        Args:
            kind: one of `WORD_WEIGHTS`.
            texts: n str, the corpus.
            num_words: int ≥ 1, most frequent words that are kept.
            dim: int ≥ 1, columns after the truncated SVD. With `dim` words or fewer each word
                keeps its own column; with fewer texts than `dim` there are as many as texts.
            seed: int, of the SVD.
            clean: level of `text.clean_text`.
            stop_words: str that `clean="full"` leaves out too.

        Raises: EncoderError when no text holds a word; UsageError when a number is below 1.
        """
        if dim < 1:
            raise UsageError(f"`dim` must be at least 1, got {dim!r}")
        vocabulary = WordVocabulary.fit(texts, num_words, clean=clean, stop_words=stop_words)
        has_word, mean_length = _corpus_counts(vocabulary, texts)
        num_texts, df = len(texts), np.asarray(has_word.sum(axis=0)).ravel()
        idf = {
            "one_hot": np.ones(len(df)),
            "tfidf": np.log((1 + num_texts) / (1 + df)) + 1,
            "bm25": np.log1p((num_texts - df + 0.5) / (df + 0.5)),
        }.get(kind)
        whole = np.empty((len(vocabulary), 0), np.float32)
        encoder = cls(kind, vocabulary, np.ones(0) if idf is None else idf, whole, mean_length)
        if len(vocabulary) <= dim:
            table = np.eye(len(vocabulary), dtype=np.float32)
        else:
            svd = TruncatedSVD(min(dim, num_texts), random_state=seed)
            table = svd.fit(encoder.word_weights(texts)).components_.T
        return cls(kind, vocabulary, encoder._idf.numpy(), table, mean_length)

    @property
    def name(self) -> str:
        """Name for reports."""
        return self.kind

    @property
    def variables(self) -> list[Any]:
        """The word weights and the table as `tf.Variable`s."""
        return [self._idf, self._rows]

    @property
    def fingerprint(self) -> str:
        """Hex sha256 of all that shapes the vectors, equal in every process."""
        settings = [_FORMAT, self.kind, self.vocabulary.sha256, self.mean_length]
        digest = hashlib.sha256(json.dumps(settings).encode())
        for variable in self.variables:
            values = variable.numpy()
            digest.update(f"\n{values.shape}\n".encode())
            digest.update(np.ascontiguousarray(values, "<f4").data)
        return digest.hexdigest()

    def word_weights(self, texts: Sequence[str]) -> sparse.csr_matrix:
        """Returns the weights of the words before the reduction, float32 `(n, num_words)`."""
        blocks = []
        for first in range(0, len(texts), BLOCK_TEXTS):
            block = string_tensor(texts[first : first + BLOCK_TEXTS])
            found = self._weights(block)
            rows, words = found.indices.numpy().T
            shape = (len(block), len(self.vocabulary))
            blocks.append(sparse.csr_matrix((found.values.numpy(), (rows, words)), shape=shape))
        return sparse.vstack(blocks, "csr")

    def embed(self, texts: Any) -> Any:
        """Encodes a tensor of texts; works inside a graph.

        Args:
            texts: string `(batch,)`.

        Returns: float32 `(batch, dim)`.
        """
        return self._embed(texts)

    def encode(
        self, texts: list[str], *, batch_size: int = 32, progress: Progress | None = None
    ) -> np.ndarray:
        """Encodes many texts: float32 `(n, dim)`; see `encode_blocks`."""
        return encode_blocks(self, texts, batch_size=batch_size, progress=progress)

    def save(self, folder: str | Path) -> None:
        """Writes the encoder as one self-contained folder, whole or not at all.

        Raises: UsageError when the folder holds something.
        """
        settings = {"mean_length": self.mean_length}
        with new_encoder_folder(folder, self.kind, settings) as temporary:
            settings.update(self.vocabulary.save(temporary))
            np.save(temporary / "idf.npy", self._idf.numpy(), allow_pickle=False)
            np.save(temporary / "table.npy", self._rows.numpy(), allow_pickle=False)

    @classmethod
    def load(cls, folder: str | Path) -> WordEncoder:
        """Reads what `save` wrote.

        Raises: EncoderError when the folder is none; CorruptFileError when a file in it changed.
        """
        folder = Path(folder)
        about = read_encoder_folder(folder, *WORD_WEIGHTS)
        return cls(
            about["kind"],
            WordVocabulary.load(folder, about),
            np.load(folder / "idf.npy", allow_pickle=False),
            np.load(folder / "table.npy", allow_pickle=False),
            about["mean_length"],
        )

    def _embed_in_graph(self, texts: Any) -> Any:
        vectors = tf.sparse.sparse_dense_matmul(self._weights(texts), self._rows)
        return tf.ensure_shape(vectors, [None, self.dim])

    def _weights(self, texts: Any) -> Any:
        """Sparse float32 `(batch, num_words)`."""
        numbers = self.vocabulary.numbers_with_unknown(texts)
        num_texts, num_words = numbers.nrows(), len(self.vocabulary)
        is_known = numbers.values >= 0
        rows = tf.boolean_mask(numbers.value_rowids(), is_known)
        # One number for each pair of text and word, in ascending order: what is summed is then
        # summed in the same order in every batch.
        pairs = tf.sort(rows * num_words + tf.boolean_mask(numbers.values, is_known))
        pairs, _, counts = tf.unique_with_counts(pairs)
        rows, words = pairs // num_words, pairs % num_words
        counts = tf.cast(counts, tf.float32)
        weights = tf.gather(self._idf, words)
        if self.kind == "tfidf":
            weights *= 1.0 + tf.math.log(counts)
            length = tf.sqrt(tf.math.unsorted_segment_sum(weights**2, rows, num_texts))
            weights /= tf.gather(length, rows)
        elif self.kind == "bm25":
            length = tf.cast(numbers.row_lengths(), tf.float32) / self.mean_length
            weights *= counts * (_K1 + 1.0)
            weights /= counts + _K1 * (1.0 - _B + _B * tf.gather(length, rows))
        return tf.SparseTensor(tf.stack([rows, words], axis=1), weights, [num_texts, num_words])


def _corpus_counts(
    vocabulary: WordVocabulary, texts: Sequence[str]
) -> tuple[sparse.csr_matrix, float]:
    """Returns which text holds which word, and the mean number of words, known or not."""
    blocks, num_words = [], 0
    for first in range(0, len(texts), BLOCK_TEXTS):
        numbers = vocabulary.numbers_with_unknown(string_tensor(texts[first : first + BLOCK_TEXTS]))
        rows, words = numbers.value_rowids().numpy(), numbers.values.numpy()
        num_words += len(words)
        rows, words = rows[words >= 0], words[words >= 0]
        shape = (int(numbers.nrows()), len(vocabulary))
        block = sparse.csr_matrix((np.ones(len(words), np.float32), (rows, words)), shape=shape)
        block.data[:] = 1.0
        blocks.append(block)
    return sparse.vstack(blocks, "csr"), num_words / len(texts)
