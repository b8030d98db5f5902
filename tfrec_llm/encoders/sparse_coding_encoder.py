"""Vectors of a language model → few active entries over a learned dictionary."""

from __future__ import annotations

import hashlib
import json
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from sklearn.decomposition import MiniBatchDictionaryLearning
from sklearn.exceptions import ConvergenceWarning

from tfrec_llm.encoders.encoder import Encoder
from tfrec_llm.encoders.encoder_folder import new_encoder_folder, read_encoder_folder
from tfrec_llm.errors import UsageError
from tfrec_llm.keras_api import tf
from tfrec_llm.progress import Progress, Silent

_FORMAT = 1
_MAX_FIT_VECTORS = 10_000
_VECTORS_PER_ATOM = 4
_CODE_ROWS = 1024


class SparseCodingEncoder(tf.Module):
    """Sparse codes of the vectors of another encoder.

    A vector is brought to unit length, freed from the common part of the corpus and brought to
    unit length again: x. Its code z makes 0.5 · |x - z · atoms|² + alpha · |z|₁ small, by a fixed
    number of steps of FISTA (Beck and Teboulle, 2009, doi:10.1137/080716542), which run in the
    served graph too. Most entries of a code are exactly zero.

    Args:
        encoder: the encoder whose vectors are coded, one vector a text.
        centre: float32 `(encoder.dim,)`, mean of the unit-length vectors of the corpus.
        atoms: float32 `(dim, encoder.dim)`, rows of length 1 at most.
        alpha: float > 0, price of an entry. Defaults to 0.1.
        num_steps: int ≥ 1, steps of FISTA. Defaults to 200.

    Raises: UsageError when an argument does not fit.

    Example:
        >>> from tfrec_llm.encoders.no_text_encoder import NoTextEncoder
        >>> atoms = np.ones((1, 1), np.float32)
        >>> encoder = SparseCodingEncoder(NoTextEncoder(), np.zeros(1), atoms, alpha=0.25)
        >>> encoder.encode(["x"]).tolist()
        [[0.75]]
    """

    num_tokens = None

    def __init__(
        self,
        encoder: Encoder,
        centre: np.ndarray,
        atoms: np.ndarray,
        *,
        alpha: float = 0.1,
        num_steps: int = 200,
    ) -> None:
        super().__init__(name="sparse_coding")
        if alpha <= 0.0 or num_steps < 1:
            raise UsageError(
                f"`alpha` must be above 0 and `num_steps` at least 1, got {alpha!r}, {num_steps!r}"
            )
        if encoder.num_tokens is not None:
            raise UsageError(
                f"Sparse codes need one vector a text, but {encoder.name} gives token vectors. Set "
                "encoder.pooling to mean."
            )
        if np.shape(atoms)[1:] != (encoder.dim,) or np.shape(centre) != (encoder.dim,):
            raise UsageError(
                f"`atoms` and `centre` must be {encoder.dim} wide, as the vectors of "
                f"{encoder.name}; got {np.shape(atoms)} and {np.shape(centre)}"
            )
        self.encoder = encoder
        self.alpha = float(alpha)
        self.num_steps = num_steps
        self.dim = len(atoms)
        self._centre = tf.Variable(np.asarray(centre, np.float32), trainable=False, name="centre")
        self._atoms = tf.Variable(np.asarray(atoms, np.float32), trainable=False, name="atoms")
        gram = np.asarray(atoms, np.float64) @ np.asarray(atoms, np.float64).T
        self._step = 1.0 / max(float(np.linalg.eigvalsh(gram)[-1]), 1e-6)
        spec = tf.TensorSpec([None, encoder.dim], tf.float32)
        # A bound method is not tracked, so exports do not carry what only `encode` needs.
        self._code_rows: Callable[[Any], Any] = tf.function(
            self.code, input_signature=[spec], autograph=False
        ).__call__

    @classmethod
    def fit(
        cls,
        encoder: Encoder,
        vectors: np.ndarray,
        dim: int = 256,
        seed: int = 0,
        *,
        alpha: float = 0.1,
        num_steps: int = 200,
        max_passes: int = 10,
    ) -> SparseCodingEncoder:
        """Learns the dictionary.

        Args:
            encoder: the encoder whose vectors are coded.
            vectors: float32 `(n, encoder.dim)`, what it gives for the texts of the corpus; of more
                than 10,000 a seeded sample is taken.
            dim: int ≥ 1, number of atoms, a quarter of n at most: with more, an atom learns a
                single text by heart, and codes no longer say which texts are alike.
            seed: int, of the learning.
            alpha: float > 0, price of an entry.
            num_steps: int ≥ 1, steps of FISTA in coding.
            max_passes: int ≥ 1, most passes over the vectors.

        Raises: UsageError when an argument does not fit.
        """
        if dim < 1 or not len(vectors):
            raise UsageError(
                f"A dictionary needs at least one atom and one vector, got `dim` {dim!r} and "
                f"{len(vectors)} vectors"
            )
        unit = _unit_rows(np.asarray(vectors, np.float64))
        centre = unit.mean(axis=0)
        examples = _unit_rows(unit - centre)
        if len(examples) > _MAX_FIT_VECTORS:
            drawn = np.random.default_rng(seed).permutation(len(examples))[:_MAX_FIT_VECTORS]
            examples = examples[np.sort(drawn)]
        learner = MiniBatchDictionaryLearning(
            max(1, min(dim, len(examples) // _VECTORS_PER_ATOM)),
            alpha=alpha,
            fit_algorithm="cd",
            max_iter=max_passes,
            batch_size=256,
            random_state=seed,
        )
        with warnings.catch_warnings():  # codes of a dictionary that is not learned yet are rough
            warnings.simplefilter("ignore", ConvergenceWarning)
            atoms = learner.fit(examples).components_
        return cls(encoder, centre, atoms, alpha=alpha, num_steps=num_steps)

    @property
    def name(self) -> str:
        """Name for reports."""
        return f"sparse_coding of {self.encoder.name}"

    @property
    def variables(self) -> list[Any]:
        """The weights as `tf.Variable`s, those of the coded encoder included."""
        return [*self.encoder.variables, self._centre, self._atoms]

    @property
    def fingerprint(self) -> str:
        """Hex sha256 of all that shapes the codes, equal in every process."""
        settings = [_FORMAT, "sparse_coding", self.encoder.fingerprint, self.alpha, self.num_steps]
        digest = hashlib.sha256(json.dumps(settings).encode())
        for variable in (self._centre, self._atoms):
            values = variable.numpy()
            digest.update(f"\n{values.shape}\n".encode())
            digest.update(np.ascontiguousarray(values, "<f4").data)
        return digest.hexdigest()

    def standardise(self, vectors: Any) -> Any:
        """Returns the vectors as they are coded: less the common part, of unit length."""
        unit = tf.math.l2_normalize(vectors, axis=1)
        return tf.math.l2_normalize(unit - self._centre, axis=1)

    def code(self, vectors: Any) -> Any:
        """Codes vectors; works inside a graph.

        Args:
            vectors: float32 `(n, encoder.dim)`.

        Returns: float32 `(n, dim)`.
        """
        gram = tf.matmul(self._atoms, self._atoms, transpose_b=True)
        target = tf.matmul(self.standardise(vectors), self._atoms, transpose_b=True)

        def step(number: Any, code: Any, ahead: Any, momentum: Any) -> tuple[Any, ...]:
            moved = ahead - self._step * (tf.matmul(ahead, gram) - target)
            size = tf.maximum(tf.abs(moved) - self.alpha * self._step, 0.0)
            moved = tf.sign(moved) * size
            faster = (1.0 + tf.sqrt(1.0 + 4.0 * momentum**2)) / 2.0
            ahead = moved + (momentum - 1.0) / faster * (moved - code)
            return number + 1, moved, ahead, faster

        zero = tf.zeros_like(target)
        _, code, _, _ = tf.while_loop(
            lambda number, *_: number < self.num_steps, step, (0, zero, zero, tf.constant(1.0))
        )
        return tf.ensure_shape(code, [None, self.dim])

    def embed(self, texts: Any) -> Any:
        """Encodes a tensor of texts; works inside a graph.

        Args:
            texts: string `(batch,)`.

        Returns: float32 `(batch, dim)`.
        """
        return self.code(self.encoder.embed(texts))

    def encode(
        self, texts: list[str], *, batch_size: int = 32, progress: Progress | None = None
    ) -> np.ndarray:
        """Encodes many texts with the other encoder and codes its vectors: float32 `(n, dim)`."""
        progress = progress or Silent()
        vectors = self.encoder.encode(texts, batch_size=batch_size, progress=progress)
        return self.encode_vectors(vectors)

    def encode_vectors(self, vectors: np.ndarray) -> np.ndarray:
        """Codes vectors that the other encoder gave: float32 `(n, encoder.dim)` → `(n, dim)`."""
        codes = np.empty((len(vectors), self.dim), np.float32)
        for first in range(0, len(vectors), _CODE_ROWS):
            rows = slice(first, first + _CODE_ROWS)
            codes[rows] = self._code_rows(tf.constant(vectors[rows], tf.float32)).numpy()
        return codes

    def save(self, folder: str | Path) -> None:
        """Writes the encoder as one folder, the coded encoder in a folder within.

        Raises: UsageError when the folder holds something.
        """
        settings = {"alpha": self.alpha, "num_steps": self.num_steps}
        with new_encoder_folder(folder, "sparse_coding", settings) as temporary:
            self.encoder.save(temporary / "encoder")
            np.save(temporary / "centre.npy", self._centre.numpy(), allow_pickle=False)
            np.save(temporary / "atoms.npy", self._atoms.numpy(), allow_pickle=False)

    @classmethod
    def load(
        cls, folder: str | Path, load_encoder: Callable[[Path], Encoder]
    ) -> SparseCodingEncoder:
        """Reads what `save` wrote.

        Args:
            folder: the folder that was given to `save`.
            load_encoder: reads the folder of the coded encoder.

        Raises: EncoderError when the folder is none; CorruptFileError when a file in it changed.
        """
        folder = Path(folder)
        about = read_encoder_folder(folder, "sparse_coding")
        return cls(
            load_encoder(folder / "encoder"),
            np.load(folder / "centre.npy", allow_pickle=False),
            np.load(folder / "atoms.npy", allow_pickle=False),
            alpha=about["alpha"],
            num_steps=about["num_steps"],
        )


def _unit_rows(vectors: np.ndarray) -> np.ndarray:
    norms = np.linalg.norm(vectors, axis=1, keepdims=True)
    return vectors / np.where(norms > 1e-12, norms, 1.0)
