"""Texts → words → word numbers, in the TensorFlow graph."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from tfrec_llm.errors import EncoderError, UsageError
from tfrec_llm.keras_api import tf, tf_text
from tfrec_llm.text.cleaning import check_level, clean_text, cleaning_sha256

BLOCK_TEXTS = 1024

# Han, kana, Hangul, and the plane of rare Han characters: scripts without reliable word breaks.
_CJK = (
    r"\x{3040}-\x{30ff}\x{3400}-\x{4dbf}\x{4e00}-\x{9fff}\x{ac00}-\x{d7af}"
    r"\x{f900}-\x{faff}\x{20000}-\x{3ffff}"
)
# tf.strings.lower follows the language of the process for these letters: under a Turkish LC_ALL
# it takes I to a dotless i, and a server may run under any. What is lower case already is safe.
_LOCALE_LETTERS = {"I": "i", "J": "j", "İ": "i\u0307", "Į": "į", "Ì": "ì", "Í": "í", "Ĩ": "ĩ"}


class WordVocabulary(tf.Module):
    """The most frequent words of a corpus, by number; the most frequent one has number 0.

    Hold it as an attribute of a `tf.Module` that is exported: its table is tracked through it.

    Args:
        words: distinct str, at least one.
        clean: level of `text.clean_text` before words are sought. Defaults to "none".
        stop_words: str that `clean="full"` leaves out too.

    Raises: UsageError when there is no word, one stands twice, or `clean` is unknown.

    Example:
        >>> vocabulary = WordVocabulary.fit(["the sea", "the blue sea", "the"], num_words=2)
        >>> vocabulary.words
        ['the', 'sea']
        >>> vocabulary.numbers(tf.constant(["Sea of the unknown", ""])).to_list()
        [[1, 0], []]
    """

    def __init__(
        self, words: Sequence[str], *, clean: str = "none", stop_words: Sequence[str] = ()
    ) -> None:
        super().__init__(name="word_vocabulary")
        if not words or len(set(words)) != len(words):
            raise UsageError(
                f"`words` must be distinct and at least one, got {len(words)} words of which "
                f"{len(set(words))} differ"
            )
        self.clean = clean
        # Tuples, since tf.Module would follow lists of ten thousands of strings at each save.
        self._words = tuple(words)
        self._stop_words = check_level(clean, stop_words)
        numbers = tf.range(len(words), dtype=tf.int64)
        self._table = tf.lookup.StaticHashTable(
            tf.lookup.KeyValueTensorInitializer(tf.constant(list(words)), numbers), -1
        )

    @classmethod
    def fit(
        cls,
        texts: Iterable[str],
        num_words: int,
        *,
        clean: str = "none",
        stop_words: Sequence[str] = (),
    ) -> WordVocabulary:
        """Takes the most frequent words of texts; of two as frequent, the first by alphabet.

        Args:
            texts: str, the corpus.
            num_words: int ≥ 1, most words that are kept.
            clean: level of `text.clean_text`.
            stop_words: str that `clean="full"` leaves out too.

        Raises: UsageError when `num_words` is below 1; EncoderError when no text holds a word.
        """
        if num_words < 1:
            raise UsageError(f"`num_words` must be at least 1, got {num_words!r}")
        counts: Counter[bytes] = Counter()
        texts = list(texts)
        for first in range(0, len(texts), BLOCK_TEXTS):
            block = string_tensor(texts[first : first + BLOCK_TEXTS])
            found = words_in_graph(block, clean=clean, stop_words=stop_words)
            counts.update(found.flat_values.numpy())
        if not counts:
            raise EncoderError(
                f"None of the {len(texts)} texts holds a word that could be encoded. Check the "
                "text columns and text.clean, or set encoder.kind to none."
            )
        kept = sorted(counts, key=lambda word: (-counts[word], word))[:num_words]
        return cls([word.decode() for word in kept], clean=clean, stop_words=stop_words)

    @property
    def words(self) -> list[str]:
        """The words in the order of their numbers."""
        return list(self._words)

    def __len__(self) -> int:
        return len(self._words)

    @property
    def sha256(self) -> str:
        """Hex digest of all that shapes the numbers."""
        settings = [self._words, cleaning_sha256(self.clean, self._stop_words)]
        return hashlib.sha256(json.dumps(settings).encode()).hexdigest()

    def numbers_with_unknown(self, texts: Any) -> Any:
        """Returns the number of each word, -1 for an unknown one.

        Args:
            texts: string `(batch,)`.

        Returns: ragged int64 `(batch, None)`.
        """
        words = words_in_graph(texts, clean=self.clean, stop_words=self._stop_words)
        return words.with_values(self._table.lookup(words.values))

    def numbers(self, texts: Any) -> Any:
        """Returns the numbers of the known words, string `(batch,)` → ragged int64."""
        numbers = self.numbers_with_unknown(texts)
        return tf.ragged.boolean_mask(numbers, numbers.with_values(numbers.values >= 0))

    def save(self, folder: Path) -> dict[str, Any]:
        """Writes words.txt and returns the settings that `load` needs beside it."""
        (folder / "words.txt").write_text("\n".join(self._words) + "\n", encoding="utf-8")
        return {"clean": self.clean, "stop_words": list(self._stop_words)}

    @classmethod
    def load(cls, folder: Path, settings: dict[str, Any]) -> WordVocabulary:
        """Reads what `save` wrote."""
        words = (folder / "words.txt").read_text(encoding="utf-8").removesuffix("\n").split("\n")
        return cls(words, clean=settings["clean"], stop_words=settings["stop_words"])


def words_in_graph(texts: Any, *, clean: str = "none", stop_words: Sequence[str] = ()) -> Any:
    """Returns the words of texts as `baselines.tfidf.words_of` finds them, after Unicode NFKC.

    Runs of letters, digits and underscores in lower case; of Chinese, Japanese and Korean runs
    the pairs, then the triples of characters. Bytes that are not UTF-8 count as spaces.

    Args:
        texts: string `(batch,)`.
        clean: level of `text.clean_text`, which comes first.
        stop_words: str that `clean="full"` leaves out too.

    Returns: ragged string `(batch, None)`.

    Example:
        >>> words = words_in_graph(tf.constant(["Ｄune 2: 科幻小"]))
        >>> [word.decode() for word in words[0].numpy()]
        ['dune', '2', '科幻', '幻小', '科幻小']
    """
    texts = clean_text(texts, clean, stop_words)
    texts = tf.strings.unicode_transcode(
        texts,
        input_encoding="UTF-8",
        output_encoding="UTF-8",
        errors="replace",
        replacement_char=ord(" "),
        replace_control_characters=True,  # tf.strings.lower would end a text at a zero byte
    )
    texts = tf_text.normalize_utf8(texts, "NFKC")
    for upper, lower in _LOCALE_LETTERS.items():
        texts = tf.strings.regex_replace(texts, upper, lower)
    texts = tf.strings.lower(texts, encoding="utf-8")
    texts = tf.strings.regex_replace(texts, f"([{_CJK}]+)", r" \1 ")
    runs = tf.strings.split(tf.strings.regex_replace(texts, rf"[^\pL\pN_{_CJK}]+", " "))
    return runs.with_values(_pairs_and_triples(runs.values)).merge_dims(1, 2)


def string_tensor(texts: Sequence[str]) -> Any:
    """Returns texts as string `(n,)`; a lone surrogate becomes a question mark."""
    return tf.constant([text.encode("utf-8", "replace") for text in texts], tf.string)


def _pairs_and_triples(runs: Any) -> Any:
    """Ragged `(runs, None)`: n-grams of the runs of CJK that are longer than 1, others whole."""
    is_cjk = tf.strings.regex_full_match(runs, f"[{_CJK}]{{2,}}")
    characters = tf.strings.unicode_split(tf.where(is_cjk, runs, ""), "UTF-8")
    grams = tf.strings.ngrams(characters, (2, 3), separator="")
    whole = tf.RaggedTensor.from_row_lengths(
        tf.boolean_mask(runs, ~is_cjk), tf.cast(~is_cjk, tf.int64)
    )
    return tf.concat([whole, grams], axis=1)
