"""Two language models, one of them for Chinese, as one encoder."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import safetensors.numpy

from tfrec_llm.encoders.presets import read_json
from tfrec_llm.encoders.text_encoder import TextEncoder
from tfrec_llm.errors import CorruptFileError, EncoderError, UsageError
from tfrec_llm.files import atomic_folder, sha256_of_file
from tfrec_llm.keras_api import tf
from tfrec_llm.progress import Progress

KIND = "language_encoder"
HAN_SHARE = 0.3

_FORMAT = 1
_FIRST, _CHINESE = "first", "chinese"
_CENTRE_FILE = "centre.safetensors"
_CENTRE_TEXTS = 2048
_QUESTION_TEXTS = 4096


def is_chinese(texts: Any) -> Any:
    """Returns which texts are in Chinese: 30 % of their letters or more are Han characters.

    Letters are those of every script; digits, punctuation and symbols do not count, and a text
    without letters is not Chinese. As a Han character says about as much as a word of three
    letters, such a text is at least half Chinese to its reader.

    Args:
        texts: string `(batch,)`; bytes that are not UTF-8 count for nothing.

    Returns: bool `(batch,)`.

    Example:
        >>> is_chinese(tf.constant(["三体 Three", "三体 The Three-Body Problem", ""])).numpy()
        array([False, False, False])
        >>> is_chinese(tf.constant(["最近在追《三体》, a novel"])).numpy()
        array([ True])
    """
    sound = tf.strings.unicode_transcode(
        texts, "UTF-8", "UTF-8", errors="replace", replacement_char=ord(" ")
    )
    letters = tf.strings.regex_replace(sound, r"[^\p{L}]", "")
    han = tf.strings.regex_replace(letters, r"[^\p{Han}]", "")
    num_letters = tf.cast(tf.strings.length(letters, "UTF8_CHAR"), tf.float32)
    num_han = tf.cast(tf.strings.length(han, "UTF8_CHAR"), tf.float32)
    return (num_han > 0) & (num_han >= HAN_SHARE * num_letters)


class LanguageEncoder(tf.Module):
    """Reads Chinese texts with one language model and all others with another.

    The features of a text are the vectors of the two models side by side, zeros for the one that
    did not read it. A model that gets no text of a batch is not run. Vectors are brought to unit
    length, and `fit` takes off what those of one model have in common: otherwise the language of
    a text would be most of what its features say, and texts of one language would look alike.

    Args:
        first: encoder of the texts that are not Chinese, see `is_chinese`.
        chinese: encoder of the Chinese texts.

    Attributes:
        dim: int, width of the features: the sum of both.
        num_tokens: None, one vector a text.

    Raises: UsageError when one of the two gives token vectors, for a pooling that is learned.

    Example:
        >>> import tempfile
        >>> from tfrec_llm.testing.tiny_models import tiny_preset
        >>> one, two = (tiny_preset(tempfile.mkdtemp(), seed=seed) for seed in (0, 1))
        >>> settings = {"max_tokens": 16}
        >>> encoder = LanguageEncoder(
        ...     TextEncoder.from_preset(one, **settings), TextEncoder.from_preset(two, **settings))
        >>> features = encoder.encode(["space opera", "三体"])
        >>> features.shape, bool((features[0, 16:] == 0).all()), bool((features[1, :16] == 0).all())
        ((2, 32), True, True)
    """

    num_tokens: int | None = None

    def __init__(self, first: TextEncoder, chinese: TextEncoder) -> None:
        super().__init__(name=KIND)
        for encoder in (first, chinese):
            if encoder.num_tokens is not None:
                raise UsageError(
                    f"The pooling {encoder.pooling!r} is learned from token vectors, which two "
                    "language models side by side do not give. With encoder.preset_zh set "
                    "encoder.pooling to mean, cls, max, last, sif or layers."
                )
        self.first = first
        self.chinese = chinese
        self.dim = first.dim + chinese.dim
        self._centre = tf.Variable(tf.zeros([self.dim]), trainable=False, name="centre")
        self._embed = tf.function(
            self._embed_in_graph,
            input_signature=[tf.TensorSpec([None], tf.string)],
            autograph=False,
        )

    @property
    def name(self) -> str:
        """Names of the two presets."""
        return f"{self.first.name} + {self.chinese.name} for Chinese"

    @property
    def variables(self) -> list[Any]:
        """The weights of both as `tf.Variable`s."""
        return [*self.first.variables, *self.chinese.variables, self._centre]

    @property
    def fingerprint(self) -> str:
        """Hex sha256 of all that shapes the features, equal in every process."""
        parts = [KIND, str(_FORMAT), str(HAN_SHARE)]
        parts += [self.first.fingerprint, self.chinese.fingerprint]
        digest = hashlib.sha256("\n".join(parts).encode())
        digest.update(self._centre.numpy().tobytes())
        return digest.hexdigest()

    def embed(self, texts: Any) -> Any:
        """Encodes a tensor of texts; works inside a graph.

        Args:
            texts: string `(batch,)`.

        Returns: float32 `(batch, dim)`.
        """
        return self._embed(texts)

    def fit(self, texts: Sequence[str]) -> None:
        """Measures what the vectors of each model have in common; poolings are fitted too.

        Args:
            texts: str each, of the corpus. At most 2048 of a language, evenly spread, are encoded.
        """
        chinese = self._are_chinese(texts)
        centre = np.zeros(self.dim, np.float32)
        for encoder, mine, columns in self._halves(chinese):
            own = [text for text, is_own in zip(texts, mine, strict=True) if is_own]
            encoder.fit(own)
            if own:
                some = own[:: -(-len(own) // _CENTRE_TEXTS)]
                centre[columns] = _unit_rows(encoder.encode(some)).mean(axis=0)
        self._centre.assign(centre)

    def encode(
        self, texts: list[str], *, batch_size: int = 32, progress: Progress | None = None
    ) -> np.ndarray:
        """Encodes many texts, those of one language and of like length together.

        Args:
            texts: list of n str.
            batch_size: int ≥ 1. It changes speed and memory, not the features.
            progress: told after each batch.

        Returns: float32 `(n, dim)` in the order of `texts`.
        Raises: UsageError when `batch_size` is below 1; EncoderError when a vector is not finite.
        """
        chinese = self._are_chinese(texts)
        features = np.zeros((len(texts), self.dim), np.float32)
        centre = self._centre.numpy()
        for encoder, mine, columns in self._halves(chinese):
            rows = np.flatnonzero(mine)
            vectors = encoder.encode(
                [texts[row] for row in rows], batch_size=batch_size, progress=progress
            )
            features[rows, columns] = _unit_rows(vectors) - centre[columns]
        return features

    def save(self, folder: str | Path) -> None:
        """Writes both encoders as one self-contained folder, whole or not at all.

        Args:
            folder: must not exist, or be empty.

        Raises: UsageError when the folder holds something.
        """
        try:
            with atomic_folder(folder) as temporary:
                self.first.save(temporary / _FIRST)
                self.chinese.save(temporary / _CHINESE)
                arrays = {"centre": self._centre.numpy()}
                (temporary / _CENTRE_FILE).write_bytes(safetensors.numpy.save(arrays))
                about = {
                    "format": _FORMAT,
                    "kind": KIND,
                    "han_share": HAN_SHARE,
                    "centre_sha256": sha256_of_file(temporary / _CENTRE_FILE),
                }
                (temporary / "encoder.json").write_text(json.dumps(about, indent=1) + "\n")
        except FileExistsError as error:
            raise UsageError(f"{folder} holds something already. Give a new folder.") from error

    @classmethod
    def load(cls, folder: str | Path) -> LanguageEncoder:
        """Reads what `save` wrote.

        Args:
            folder: the folder that was given to `save`.

        Returns: an encoder with the same fingerprint.
        Raises: EncoderError when the folder is none; CorruptFileError when a file in it changed.
        """
        folder = Path(folder)
        about = read_json(folder / "encoder.json")
        digest = about.pop("centre_sha256", None)
        wanted = {"format": _FORMAT, "kind": KIND, "han_share": HAN_SHARE}
        if about != wanted:
            raise EncoderError(
                f"{folder / 'encoder.json'} holds {about}, this version reads {wanted}."
            )
        centre = folder / _CENTRE_FILE
        if not centre.is_file() or sha256_of_file(centre) != digest:
            raise CorruptFileError(
                f"{centre} is missing or not as it was saved. Save the encoder again."
            )
        encoder = cls(TextEncoder.load(folder / _FIRST), TextEncoder.load(folder / _CHINESE))
        encoder._centre.assign(safetensors.numpy.load_file(centre)["centre"])
        return encoder

    def _halves(self, chinese: np.ndarray) -> list[tuple[TextEncoder, np.ndarray, slice]]:
        """Returns each model with the rows that it reads and the columns that it fills."""
        width = self.first.dim
        return [
            (self.first, ~chinese, slice(None, width)),
            (self.chinese, chinese, slice(width, None)),
        ]

    def _are_chinese(self, texts: Sequence[str]) -> np.ndarray:
        blocks = [
            is_chinese(
                tf.constant(
                    [t.encode("utf-8", "replace") for t in texts[first : first + _QUESTION_TEXTS]],
                    tf.string,
                )
            ).numpy()
            for first in range(0, len(texts), _QUESTION_TEXTS)
        ]
        return np.concatenate([np.zeros(0, bool), *blocks])

    def _embed_in_graph(self, texts: Any) -> Any:
        chinese = is_chinese(texts)
        width = self.first.dim
        halves = [
            _embed_some(self.first, texts, tf.logical_not(chinese), self._centre[:width]),
            _embed_some(self.chinese, texts, chinese, self._centre[width:]),
        ]
        return tf.ensure_shape(tf.concat(halves, axis=1), [None, self.dim])


def _unit_rows(vectors: np.ndarray) -> np.ndarray:
    norms = np.linalg.norm(vectors, axis=1, keepdims=True)
    return np.asarray(vectors / np.maximum(norms, 1e-12), np.float32)


def _embed_some(encoder: TextEncoder, texts: Any, mine: Any, centre: Any) -> Any:
    """Embeds the texts of a mask, float32 `(batch, dim)`; the others get zeros."""
    rows = tf.where(mine)
    some = tf.cond(
        tf.size(rows) > 0,
        lambda: tf.math.l2_normalize(encoder.embed(tf.boolean_mask(texts, mine)), axis=1) - centre,
        lambda: tf.zeros([0, encoder.dim]),
    )
    shape = tf.stack([tf.size(texts, out_type=tf.int64), encoder.dim])
    return tf.scatter_nd(rows, some, shape)
