"""The vector of a language model and the words of a text side by side, as one encoder."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from sklearn.preprocessing import normalize

from tfrec_llm.encoders.encoder import Encoder
from tfrec_llm.encoders.encoder_folder import new_encoder_folder, read_encoder_folder
from tfrec_llm.encoders.text_encoder import TextEncoder
from tfrec_llm.encoders.word_encoder import WordEncoder
from tfrec_llm.errors import UsageError
from tfrec_llm.keras_api import tf
from tfrec_llm.progress import Progress

KIND = "words_beside"

_FORMAT = 1


class WordsBesideEncoder(tf.Module):
    """Puts the weighted words of a text beside its vector by a language model.

    A language model knows what a text is about; names, series and brands it has seldom read are
    what people come back for, and plain words tell those apart. Both parts are brought to unit
    length, freed from what the corpus has in common, and scaled to a mean length of 1, so that
    neither drowns the other. A text without a known word has zeros in the second part.

    Hold the encoder as an attribute of a `tf.Module` that is exported: both parts are tracked
    through it.

    Args:
        language_model: encoder of one vector a text.
        words: `WordEncoder` of the same corpus.
        centre: float32 `(dim,)`, mean of both parts at unit length over the corpus.
        scales: the factors of the two parts, floats > 0.

    Attributes:
        dim: int, width of the features: the sum of both.

    Raises: UsageError when the language model gives token vectors, or a shape does not fit.

    Example:
        >>> import tempfile
        >>> from tfrec_llm.testing.tiny_models import tiny_preset
        >>> model = TextEncoder.from_preset(tiny_preset(tempfile.mkdtemp()), max_tokens=16)
        >>> texts = ["blue sea", "red rock", "sea food"]
        >>> words = WordEncoder.fit("tfidf", texts, dim=8)
        >>> encoder = WordsBesideEncoder.fit(model, model.encode(texts), words, texts)
        >>> features = encoder.encode(["blue rock", "unheard of"])
        >>> features.shape, bool(features[1, 16:].any())
        ((2, 21), False)
    """

    num_tokens: int | None = None

    def __init__(
        self,
        language_model: Encoder,
        words: WordEncoder,
        centre: np.ndarray,
        scales: Sequence[float],
    ) -> None:
        super().__init__(name=KIND)
        if language_model.num_tokens is not None:
            raise UsageError(
                "Words stand beside one vector a text, and this language model gives vectors of "
                "tokens. Set encoder.pooling to mean, cls, max, last, sif or layers, or "
                "encoder.word_columns to 0."
            )
        self.language_model = language_model
        self.words = words
        self.dim = language_model.dim + words.dim
        if np.shape(centre) != (self.dim,) or len(scales) != 2:
            raise UsageError(
                f"`centre` needs {self.dim} numbers and `scales` 2, got the shape "
                f"{np.shape(centre)} and {len(scales)}"
            )
        self._centre = tf.Variable(np.asarray(centre, np.float32), trainable=False, name="centre")
        self._scales = tf.Variable(np.asarray(scales, np.float32), trainable=False, name="scales")
        self._embed = tf.function(
            self._embed_in_graph,
            input_signature=[tf.TensorSpec([None], tf.string)],
            autograph=False,
        )

    @classmethod
    def fit(
        cls,
        language_model: Encoder,
        vectors: np.ndarray,
        words: WordEncoder,
        texts: Sequence[str],
    ) -> WordsBesideEncoder:
        """Measures what the texts of a corpus have in common.

        Args:
            language_model: encoder of one vector a text.
            vectors: float32 `(n, language_model.dim)`, its vectors of `texts`.
            words: `WordEncoder`.
            texts: n str, n ≥ 1.
        """
        centres, scales = [], []
        for part in (vectors, words.encode(list(texts))):
            unit = normalize(np.asarray(part, np.float64))
            said = unit[np.any(unit != 0.0, axis=1)]
            centre = said.mean(axis=0) if len(said) else np.zeros(unit.shape[1])
            length = np.linalg.norm(said - centre, axis=1).mean() if len(said) else 0.0
            centres.append(centre)
            scales.append(1.0 / length if length > 1e-6 else 1.0)
        return cls(language_model, words, np.concatenate(centres), scales)

    @property
    def name(self) -> str:
        """Name of the language model; the words have none."""
        return self.language_model.name

    @property
    def variables(self) -> list[Any]:
        """The weights of both as `tf.Variable`s."""
        return [
            *self.language_model.variables,
            *self.words.variables,
            self._centre,
            self._scales,
        ]

    @property
    def fingerprint(self) -> str:
        """Hex sha256 of all that shapes the features, equal in every process."""
        parts = [KIND, str(_FORMAT), self.language_model.fingerprint, self.words.fingerprint]
        digest = hashlib.sha256("\n".join(parts).encode())
        for variable in (self._centre, self._scales):
            digest.update(np.ascontiguousarray(variable.numpy(), "<f4").data)
        return digest.hexdigest()

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
        """Encodes many texts.

        Args:
            texts: list of n str.
            batch_size: int ≥ 1, of the language model. It changes speed and memory only.
            progress: told of the texts that the language model reads.

        Returns: float32 `(n, dim)` in the order of `texts`.
        Raises: UsageError when `batch_size` is below 1; EncoderError when a vector is not finite.
        """
        vectors = self.language_model.encode(texts, batch_size=batch_size, progress=progress)
        return self.beside(vectors, texts)

    def beside(self, vectors: np.ndarray, texts: Sequence[str]) -> np.ndarray:
        """Puts the words of texts beside vectors that the language model gave.

        Args:
            vectors: float32 `(n, language_model.dim)`.
            texts: n str.

        Returns: float32 `(n, dim)`.
        """
        words = self.words.encode(list(texts))
        return np.asarray(self._join(tf.constant(vectors, tf.float32), words).numpy())

    def save(self, folder: str | Path) -> None:
        """Writes the encoder as one folder, both parts in folders within.

        Raises: UsageError when the folder holds something.
        """
        with new_encoder_folder(folder, KIND) as temporary:
            self.language_model.save(temporary / "language_model")
            self.words.save(temporary / "words")
            np.save(temporary / "centre.npy", self._centre.numpy(), allow_pickle=False)
            np.save(temporary / "scales.npy", self._scales.numpy(), allow_pickle=False)

    @classmethod
    def load(
        cls, folder: str | Path, load_encoder: Callable[[Path], Encoder]
    ) -> WordsBesideEncoder:
        """Reads what `save` wrote.

        Args:
            folder: the folder that was given to `save`.
            load_encoder: reads the folder of the language model.

        Raises: EncoderError when the folder is none; CorruptFileError when a file in it changed.
        """
        folder = Path(folder)
        read_encoder_folder(folder, KIND)
        return cls(
            load_encoder(folder / "language_model"),
            WordEncoder.load(folder / "words"),
            np.load(folder / "centre.npy", allow_pickle=False),
            np.load(folder / "scales.npy", allow_pickle=False),
        )

    def _embed_in_graph(self, texts: Any) -> Any:
        vectors = tf.cast(self.language_model.embed(texts), tf.float32)
        joined = self._join(vectors, self.words.embed(texts))
        return tf.ensure_shape(joined, [None, self.dim])

    def _join(self, vectors: Any, words: Any) -> Any:
        width = self.language_model.dim
        parts = [
            _standardised(vectors, self._centre[:width], self._scales[0]),
            _standardised(words, self._centre[width:], self._scales[1]),
        ]
        return tf.concat(parts, axis=1)


def text_encoder_of(encoder: Any) -> TextEncoder:
    """Returns the language model of an encoder that is one, or has words beside one.

    Raises: UsageError when the encoder has no language model, or two.
    """
    model = encoder.language_model if isinstance(encoder, WordsBesideEncoder) else encoder
    if not isinstance(model, TextEncoder):
        raise UsageError(f"the encoder {encoder.name} does not give the tokens of a language model")
    return model


def _standardised(vectors: Any, centre: Any, scale: Any) -> Any:
    """Unit length, less the centre, scaled; zeros, which say nothing, stay zeros."""
    says_something = tf.reduce_any(vectors != 0.0, axis=1, keepdims=True)
    unit = tf.math.l2_normalize(vectors, axis=1)
    return tf.where(says_something, (unit - centre) * scale, 0.0)
