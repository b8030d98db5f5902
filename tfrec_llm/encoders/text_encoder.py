"""Texts → vectors: preprocessing, backbone and pooling as one thing."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import safetensors.numpy

from tfrec_llm.encoders.hidden_layers import last_hidden_layers
from tfrec_llm.encoders.length_batches import length_batches
from tfrec_llm.encoders.load_preset import load_preset, use_exact_gelu
from tfrec_llm.encoders.presets import ResolvedPreset, read_json, resolve_preset
from tfrec_llm.errors import CorruptFileError, EncoderError, UsageError
from tfrec_llm.files import atomic_folder, check_room, sha256_of_file
from tfrec_llm.fusion.poolings import FIXED_POOLINGS, LEARNED_POOLINGS, make_pooling
from tfrec_llm.keras_api import tf
from tfrec_llm.progress import Progress, Silent
from tfrec_llm.text.preprocessor import TextPreprocessor

PRECISIONS = ("float32", "mixed_bfloat16")
TOKENS = "tokens"
POOLINGS = (*FIXED_POOLINGS, "layers", *LEARNED_POOLINGS, TOKENS)

_FORMAT = 1
_TOKENISE_TEXTS = 4096
_NOT_IN_DIGEST = ("name", "dtype", "trainable")
_POOLING_FILE = "pooling.safetensors"


class TextEncoder(tf.Module):
    """A language model that turns each text into one vector, or into the vectors of its tokens.

    The vectors are not normalised. Hold it as an attribute of a `tf.Module` that is exported: the
    vocabulary is tracked through it, and so are the weights (`variables`), which a SavedModel
    would lack otherwise.

    Args:
        preset: the preset that the parts were loaded from.
        tokenizer: keras-nlp tokenizer.
        backbone: keras-nlp backbone with the inputs `token_ids` and `padding_mask`.
        pooling: how token vectors become one: a name in `FIXED_POOLINGS`; "layers", the mean over
            tokens of the last `pooling_layers` hidden layers side by side; a name in
            `LEARNED_POOLINGS`, or "tokens", for the token vectors themselves.
        pooling_layers: int ≥ 1, of the pooling "layers". Defaults to 4.
        max_tokens: int ≥ 3, start and end token included. Defaults to 64.
        precision: "float32" or "mixed_bfloat16", the dtype policy that `backbone` was loaded
            with. With bfloat16 a vector depends a little on the batch it was computed in.
        clean: level of cleaning, see `text.clean_text`. Defaults to "none".
        stop_words: str each, dropped by the level "full" beside its own.

    Attributes:
        dim: int, width of the vectors.
        num_tokens: None for one vector a text; `max_tokens` for token vectors.
        preset: ResolvedPreset.

    Raises: EncoderError, UsageError when the settings do not fit the model.

    Example:
        >>> import tempfile
        >>> from tfrec_llm.testing.tiny_models import tiny_preset
        >>> encoder = TextEncoder.from_preset(tiny_preset(tempfile.mkdtemp()), max_tokens=16)
        >>> encoder.encode(["space opera", ""]).shape
        (2, 16)
    """

    def __init__(
        self,
        preset: ResolvedPreset,
        tokenizer: Any,
        backbone: Any,
        *,
        pooling: str = "mean",
        pooling_layers: int = 4,
        max_tokens: int = 64,
        precision: str = "float32",
        clean: str = "none",
        stop_words: Sequence[str] = (),
    ) -> None:
        super().__init__(name="text_encoder")
        _one_of("pooling", pooling, POOLINGS)
        _one_of("precision", precision, PRECISIONS)
        _check_length(max_tokens, backbone, preset)

        self.preset = preset
        self.pooling = pooling
        self.pooling_layers = pooling_layers
        self.max_tokens = max_tokens
        self.precision = precision
        self.clean = clean
        self.stop_words = tuple(stop_words)
        has_pooling = pooling not in (TOKENS, *LEARNED_POOLINGS)
        self.num_tokens = None if has_pooling else max_tokens

        self.preprocessor = TextPreprocessor(tokenizer, max_tokens, clean, self.stop_words)
        pool: Any = None
        if has_pooling:
            pool = make_pooling("mean" if pooling == "layers" else pooling)
        if pooling == "sif":
            pool.build_table(int(tokenizer.vocabulary_size()))
        reader = last_hidden_layers(backbone, pooling_layers) if pooling == "layers" else backbone
        # Set past tf.Module's tracking: a Keras 3 layer that is tracked as well as its variables
        # is saved twice.
        for name, part in {"backbone": backbone, "_reader": reader, "_pool": pool}.items():
            object.__setattr__(self, name, part)
        pool_weights = pool.weights if pool is not None else []
        self._weights = [weight.value for weight in (*backbone.weights, *pool_weights)]
        self._embed = tf.function(
            self._embed_in_graph,
            input_signature=[tf.TensorSpec([None], tf.string)],
            autograph=False,
        )
        tokens = tf.TensorSpec([None, None], tf.int32)
        batch_function = tf.function(
            self.embed_tokens, input_signature=[tokens, tokens], autograph=False
        )
        # A bound method is not tracked, so exports do not carry what only `encode` needs.
        self._encode_batch = batch_function.__call__
        self.dim = self._measure_dim()

    @classmethod
    def from_preset(
        cls,
        preset: str | Path,
        *,
        precision: str = "float32",
        **settings: Any,
    ) -> TextEncoder:
        """Loads a language model.

        Args:
            preset: name of a keras-nlp preset, or a folder in Keras or Hugging Face form.
            precision: "float32" or "mixed_bfloat16".
            settings: `pooling`, `pooling_layers`, `max_tokens`, `clean`, `stop_words`; see the
                class.

        Returns: the encoder.
        Raises: EncoderError when there is no such model, it cannot be had or does not fit.
        """
        _one_of("precision", precision, PRECISIONS)  # before a long load
        found = resolve_preset(preset)
        tokenizer, backbone = load_preset(found, precision)
        return cls(found, tokenizer, backbone, precision=precision, **settings)

    @property
    def name(self) -> str:
        """Name of the preset."""
        return self.preset.name

    @property
    def variables(self) -> list[Any]:
        """The weights as `tf.Variable`s."""
        return list(self._weights)

    @property
    def fingerprint(self) -> str:
        """Hex sha256 of all that shapes the vectors, equal in every process.

        Weights, architecture, vocabulary, pooling, `max_tokens`, precision and cleaning enter.
        It is computed anew each time, so it follows weights that are trained.
        """
        config = self.backbone.get_config()
        settings = {
            "format": _FORMAT,
            "family": type(self.backbone).__name__,
            "backbone": {k: v for k, v in config.items() if k not in _NOT_IN_DIGEST},
            "exact_gelu": self.preset.exact_gelu and self.precision == "float32",
            "preprocessor": self.preprocessor.sha256,
            "pooling": self.pooling,
            "precision": self.precision,
        }
        if self.num_tokens is not None:
            settings["pooling"] = TOKENS  # whatever is learned from them later
        if self.pooling == "layers":
            settings["pooling_layers"] = self.pooling_layers
        digest = hashlib.sha256(json.dumps(settings, sort_keys=True).encode())
        for weight in self._weights:
            values = weight.numpy()
            digest.update(f"\n{values.dtype} {values.shape}\n".encode())
            digest.update(np.ascontiguousarray(values).data)
        return digest.hexdigest()

    def embed(self, texts: Any) -> Any:
        """Encodes a tensor of texts; works inside a graph.

        Args:
            texts: string `(batch,)`.

        Returns: float32 `(batch, dim)`, or `(batch, tokens, dim)` with zeros at padding.
        """
        return self._embed(texts)

    def embed_tokens(self, token_ids: Any, padding_mask: Any, training: bool = False) -> Any:
        """Encodes tokens that are padded already; works inside a graph.

        Args:
            token_ids: int32 `(batch, tokens)`, padded with `preprocessor.pad_token_id`.
            padding_mask: int32 `(batch, tokens)`, 1 for a token.
            training: bool, whether drop-out is on.

        Returns: float32 `(batch, dim)`, or `(batch, tokens, dim)` with zeros at padding.
        """
        inputs = self.preprocessor.inputs(token_ids, padding_mask)
        outputs = self._reader({k: inputs[k] for k in self.backbone.input}, training=training)
        if isinstance(outputs, dict):
            outputs = outputs["sequence_output"]
        if self.num_tokens is not None:
            is_token = tf.cast(padding_mask, tf.bool)[..., None]
            return tf.where(is_token, tf.cast(outputs, tf.float32), 0.0)
        if self.pooling == "sif":
            return self._pool(outputs, padding_mask, token_ids)
        return self._pool(outputs, padding_mask)

    def fit(self, texts: Sequence[str]) -> None:
        """Counts the tokens of a corpus, where the pooling weighs by them ("sif").

        Args:
            texts: str each, of the corpus.
        """
        if self.pooling != "sif":
            return
        token_ids, _ = self.tokenise(list(texts))
        size = int(self.preprocessor.tokenizer.vocabulary_size())
        self._pool.adapt(np.bincount(token_ids, minlength=size))

    def token_encoder(self, max_tokens: int) -> TextEncoder:
        """Returns an encoder with the same weights that gives the vectors of the tokens.

        Args:
            max_tokens: int ≥ 3, tokens of a text at most.

        Returns: `TextEncoder` with the pooling "tokens".
        """
        return TextEncoder(
            self.preset,
            self.preprocessor.tokenizer,
            self.backbone,
            pooling=TOKENS,
            max_tokens=min(max_tokens, self.max_tokens),
            precision=self.precision,
            clean=self.clean,
            stop_words=self.stop_words,
        )

    def copy(
        self, *, name: str | None = None, weights: Sequence[np.ndarray] | None = None
    ) -> TextEncoder:
        """Returns an encoder with weights of its own.

        Args:
            name: what it is called; None for the name of this one.
            weights: of its backbone, in the order of `backbone.weights`; None for equal ones.

        Returns: `TextEncoder` with the same settings.
        """
        backbone = type(self.backbone).from_config(self.backbone.get_config())
        backbone.set_weights(self.backbone.get_weights() if weights is None else weights)
        if self.preset.exact_gelu and self.precision == "float32":
            use_exact_gelu(backbone, self.preset)
        copied = TextEncoder(
            dataclasses.replace(self.preset, name=name or self.preset.name),
            self.preprocessor.tokenizer,
            backbone,
            pooling=self.pooling,
            pooling_layers=self.pooling_layers,
            max_tokens=self.max_tokens,
            precision=self.precision,
            clean=self.clean,
            stop_words=self.stop_words,
        )
        if self._pool is not None:
            copied._pool.set_weights(self._pool.get_weights())
        return copied

    def encode(
        self, texts: list[str], *, batch_size: int = 32, progress: Progress | None = None
    ) -> np.ndarray:
        """Encodes many texts, those of like length together.

        Args:
            texts: list of n str.
            batch_size: int ≥ 1. It changes speed and memory, not the vectors.
            progress: told after each batch.

        Returns: float32 `(n, dim)` in the order of `texts`. With `num_tokens` set float16
            `(n, longest, dim)`, zeros at padding; `longest` is that of these texts.
        Raises: UsageError when `batch_size` is below 1; EncoderError when a vector is not finite.
        """
        if batch_size < 1:
            raise UsageError(f"`batch_size` must be at least 1, got {batch_size!r}")
        progress = progress or Silent()
        token_ids, starts = self.tokenise(texts)
        vectors = self._empty_features(np.diff(starts))
        done, began = 0, time.perf_counter()
        for rows, width in length_batches(np.diff(starts), batch_size, self.max_tokens):
            padded, mask = _padded(token_ids, starts, rows, width, self.preprocessor.pad_token_id)
            batch = self._encode_batch(tf.constant(padded), tf.constant(mask)).numpy()
            if self.num_tokens is None:
                vectors[rows] = batch
            else:
                width = min(width, vectors.shape[1])  # beyond it there is padding only
                vectors[rows, :width] = batch[:, :width]
            done += len(rows)
            rate = done / max(time.perf_counter() - began, 1e-9)
            progress.advance("encode texts", done, len(texts), f"{rate:.0f} texts/s")
        if not np.isfinite(vectors).all():
            finite = np.isfinite(vectors).reshape(len(vectors), -1).all(axis=1)
            row = int(np.flatnonzero(~finite)[0])
            raise EncoderError(
                f"The encoder {self.preset.name} gives a vector that is not finite for the text "
                f"{texts[row][:80]!r}. Its weights are damaged, or {self.precision} is too coarse "
                "for it."
            )
        return vectors

    def save(self, folder: str | Path) -> None:
        """Writes the encoder as one self-contained folder, whole or not at all.

        The folder is a Keras preset with an `encoder.json` beside it: settings and the sha256 of
        each file.

        Args:
            folder: must not exist, or be empty.

        Raises: UsageError when the folder holds something.
        """
        try:
            with atomic_folder(folder) as temporary:
                self.preprocessor.tokenizer.save_to_preset(str(temporary))
                # HDF5 would tell of a full disk in dozens of tracebacks that nobody can catch.
                check_room(temporary, 4 * self.backbone.count_params())
                self.backbone.save_to_preset(str(temporary))
                if self._pool is not None and self._pool.weights:
                    arrays = {str(i): w.numpy() for i, w in enumerate(self._pool.weights)}
                    (temporary / _POOLING_FILE).write_bytes(safetensors.numpy.save(arrays))
                files = sorted(p for p in temporary.rglob("*") if p.is_file())
                about = {
                    "format": _FORMAT,
                    "kind": "language_model",
                    "name": self.preset.name,
                    "preset_sha256": self.preset.sha256,
                    "exact_gelu": self.preset.exact_gelu,
                    "pooling": self.pooling,
                    "pooling_layers": self.pooling_layers,
                    "max_tokens": self.max_tokens,
                    "precision": self.precision,
                    "clean": self.clean,
                    "stop_words": list(self.stop_words),
                    "files": {str(p.relative_to(temporary)): sha256_of_file(p) for p in files},
                }
                (temporary / "encoder.json").write_text(json.dumps(about, indent=1) + "\n")
        except FileExistsError as error:
            raise UsageError(f"{folder} holds something already. Give a new folder.") from error

    @classmethod
    def load(cls, folder: str | Path) -> TextEncoder:
        """Reads what `save` wrote.

        Args:
            folder: the folder that was given to `save`.

        Returns: an encoder with the same fingerprint.
        Raises: EncoderError when the folder is none; CorruptFileError when a file in it changed.
        """
        folder = Path(folder)
        about = read_json(folder / "encoder.json")
        if about.get("format") != _FORMAT:
            raise EncoderError(
                f"{folder / 'encoder.json'} has format {about.get('format')!r}, this version reads "
                f"{_FORMAT}."
            )
        for name, expected in about["files"].items():
            if not (folder / name).is_file() or sha256_of_file(folder / name) != expected:
                raise CorruptFileError(
                    f"{folder / name} is missing or not as it was saved. Save the encoder again."
                )
        found = resolve_preset(folder)
        tokenizer, backbone = load_preset(found, about["precision"])
        preset = ResolvedPreset(
            about["name"], found.location, found.kind, about["preset_sha256"], found.exact_gelu
        )
        names = ("pooling", "pooling_layers", "max_tokens", "precision", "clean", "stop_words")
        settings = {name: about[name] for name in names if name in about}
        encoder = cls(preset, tokenizer, backbone, **settings)
        if (folder / _POOLING_FILE).is_file():
            arrays = safetensors.numpy.load_file(folder / _POOLING_FILE)
            for number, weight in enumerate(encoder._pool.weights):
                weight.assign(arrays[str(number)])
        return encoder

    def _measure_dim(self) -> int:
        """Returns the width of the vectors, from one short text: a graph would take seconds."""
        mask = tf.ones([1, 2], tf.int32)
        return int(self.embed_tokens(mask * self.preprocessor.pad_token_id, mask).shape[-1])

    def _empty_features(self, lengths: np.ndarray) -> np.ndarray:
        if self.num_tokens is None:
            return np.empty((len(lengths), self.dim), np.float32)
        return np.zeros((len(lengths), int(lengths.max(initial=1)), self.dim), np.float16)

    def _embed_in_graph(self, texts: Any) -> Any:
        inputs = self.preprocessor(texts)
        return self.embed_tokens(inputs["token_ids"], inputs["padding_mask"])

    def tokenise(self, texts: list[str]) -> tuple[np.ndarray, np.ndarray]:
        """Returns all token ids in a row, and where each text starts (n + 1 places)."""
        ids, lengths = [np.empty(0, np.int32)], [np.zeros(1, np.int64)]
        for first in range(0, len(texts), _TOKENISE_TEXTS):
            block = [t.encode("utf-8", "replace") for t in texts[first : first + _TOKENISE_TEXTS]]
            ragged = self.preprocessor.token_ids(tf.constant(block, tf.string))
            ids.append(ragged.flat_values.numpy())
            lengths.append(ragged.row_lengths().numpy())
        return np.concatenate(ids), np.cumsum(np.concatenate(lengths))


def _padded(
    token_ids: np.ndarray, starts: np.ndarray, rows: np.ndarray, width: int, pad: int
) -> tuple[np.ndarray, np.ndarray]:
    padded = np.full((len(rows), width), pad, np.int32)
    lengths = starts[rows + 1] - starts[rows]
    for place, row in enumerate(rows):
        padded[place, : lengths[place]] = token_ids[starts[row] : starts[row + 1]]
    return padded, (np.arange(width) < lengths[:, None]).astype(np.int32)


def _one_of(argument: str, value: str, allowed: tuple[str, ...]) -> None:
    if value not in allowed:
        raise UsageError(f"`{argument}` must be one of {', '.join(allowed)}, got {value!r}")


def _check_length(max_tokens: int, backbone: Any, preset: ResolvedPreset) -> None:
    longest = getattr(backbone, "max_sequence_length", None)
    if longest is not None and max_tokens > longest:
        raise EncoderError(
            f"`max_tokens` is {max_tokens}, but {preset.name} reads at most {longest} tokens. "
            f"Set text.max_tokens to {longest} or less."
        )
