"""Text features on disk, so that no text is encoded twice by one encoder.

Each encoder has a folder, named for its fingerprint, of numbered blocks that are written once and
never changed:

    block-000000.npy      float32 (rows, dim), or of token vectors float16 (rows, tokens, dim) with
                          zeros at padding, tokens as many as the longest text of the block has;
                          read through a memory map
    block-000000.keys     sha256 of the .npy file, the sha256 of each row's text, and the sha256
                          of all that stands before: 32 bytes each

The keys file is written last and is what counts: a vectors file without one is left from a process
that was killed, and is written over. A block may be deleted. One process at a time writes, under
a lock.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import io
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Protocol, runtime_checkable

import numpy as np

from tfrec_llm.errors import CorruptFileError, UsageError
from tfrec_llm.files import atomic_file, locked
from tfrec_llm.progress import Progress, Silent

BLOCK_TEXTS = 2048  # some ten seconds of work: what a kill can cost

_DIGEST_BYTES = 32
_FOLDER_CHARACTERS = 32


class Encoder(Protocol):
    """What the cache needs of a `TextEncoder`."""

    dim: int

    @property
    def num_tokens(self) -> int | None:
        """Most token vectors of a text, None for one vector a text."""

    @property
    def fingerprint(self) -> str:
        """Hex digest of all that shapes the vectors."""

    def encode(
        self, texts: list[str], *, batch_size: int = 32, progress: Progress | None = None
    ) -> np.ndarray:
        """Returns float32 `(n, dim)`, or float16 `(n, tokens, dim)`."""


@runtime_checkable
class AroundLanguageModel(Protocol):
    """An encoder that makes its vectors of those of a language model, and of texts in no time.

    What `WordsBesideEncoder` is: the cache keeps the vectors of its language model.
    """

    language_model: Encoder

    def beside(self, vectors: np.ndarray, texts: Sequence[str]) -> np.ndarray:
        """Returns float32 `(n, dim)` of the language model's vectors of the same texts."""


class FeatureCache:
    """Vectors of texts by one or many encoders, in one folder.

    Args:
        folder: where the vectors lie, made if missing. `None` takes the folder named by the
            environment variable TFREC_LLM_CACHE, else ~/.cache/tfrec_llm/features.

    Example:
        >>> import tempfile
        >>> from tfrec_llm.encoders.text_encoder import TextEncoder
        >>> from tfrec_llm.testing.tiny_models import tiny_preset
        >>> encoder = TextEncoder.from_preset(tiny_preset(tempfile.mkdtemp()), max_tokens=16)
        >>> cache = FeatureCache(tempfile.mkdtemp())
        >>> cache.features(encoder, ["space opera", "love story", "space opera"]).shape
        (3, 16)
    """

    def __init__(self, folder: str | Path | None = None) -> None:
        self.folder = default_folder() if folder is None else Path(folder).expanduser()

    def features(
        self,
        encoder: Encoder,
        texts: Sequence[str],
        *,
        batch_size: int = 32,
        progress: Progress | None = None,
    ) -> np.ndarray:
        """Returns the vectors of texts; only those never seen are encoded, each once.

        Finished blocks stay when the process is stopped, and the next call goes on from there.
        When another process encodes with the same encoder, this one waits and takes its results.

        Args:
            encoder: a `TextEncoder`.
            texts: n str; equal texts have equal vectors.
            batch_size: int, passed on to the encoder.
            progress: told of the texts that are encoded.

        Returns: float32 `(n, dim)` in the order of `texts`; of an encoder of token vectors float16
            `(n, longest, dim)`, zeros at padding. How much memory these take is told before it is
            spent.
        Raises: CorruptFileError when a stored file is cut or changed; UsageError when the folder
            cannot be written.
        """
        progress = progress or Silent()
        if isinstance(encoder, AroundLanguageModel):
            vectors = self.features(
                encoder.language_model, texts, batch_size=batch_size, progress=progress
            )
            return encoder.beside(vectors, texts)
        num_dims = 2 if encoder.num_tokens is None else 3
        folder = self.folder / encoder.fingerprint[:_FOLDER_CHARACTERS]
        store = _Store(folder, encoder.dim, num_dims)
        if encoder.num_tokens is not None and texts:
            num_bytes = 2 * len(texts) * encoder.num_tokens * encoder.dim
            progress.message(
                f"token features: {len(texts)} texts × at most {encoder.num_tokens} tokens × "
                f"{encoder.dim} in float16, up to {num_bytes / 1e9:.2f} GB of memory and of disk"
            )
        keys = [hashlib.sha256(text.encode("utf-8", "replace")).digest() for text in texts]
        store.read_new_blocks()
        if any(key not in store for key in keys):
            with store.write_lock(progress):
                store.read_new_blocks()  # what the process that held the lock has done
                _encode_missing(store, encoder, keys, texts, batch_size, progress)
        return store.vectors(keys)


def cached_features(
    encoder: Encoder,
    texts: Sequence[str],
    cache_folder: str | Path | None = None,
    progress: Progress | None = None,
    *,
    batch_size: int = 32,
) -> np.ndarray:
    """Returns the vectors of texts through the cache in `cache_folder`; see `FeatureCache`.

    Args:
        encoder: a `TextEncoder`.
        texts: n str.
        cache_folder: see `FeatureCache`.
        progress: told of the texts that are encoded.
        batch_size: int, passed on to the encoder.

    Returns: float32 `(n, dim)`.
    """
    cache = FeatureCache(cache_folder)
    return cache.features(encoder, texts, batch_size=batch_size, progress=progress)


def default_folder() -> Path:
    """Returns the folder of the cache where none is given.

    Example:
        >>> default_folder().is_absolute() or "TFREC_LLM_CACHE" in os.environ
        True
    """
    return Path(os.environ.get("TFREC_LLM_CACHE") or "~/.cache/tfrec_llm/features").expanduser()


def _encode_missing(
    store: _Store,
    encoder: Encoder,
    keys: list[bytes],
    texts: Sequence[str],
    batch_size: int,
    progress: Progress,
) -> None:
    missing = {k: text for k, text in zip(keys, texts, strict=True) if k not in store}
    missing_keys, missing_texts = list(missing), list(missing.values())
    num_known = len(set(keys)) - len(missing)
    if num_known and missing:
        progress.message(f"{num_known} texts are in the cache, {len(missing)} are to be encoded")
    for first in range(0, len(missing), BLOCK_TEXTS):
        block = missing_texts[first : first + BLOCK_TEXTS]
        part = _PartOf(progress, first, len(missing))
        vectors = encoder.encode(block, batch_size=batch_size, progress=part)
        store.append(missing_keys[first : first + BLOCK_TEXTS], vectors)


class _Store:
    """The blocks of one encoder."""

    def __init__(self, folder: Path, dim: int, num_dims: int) -> None:
        self.folder = folder
        self.dim = dim
        self._num_dims = num_dims
        self._blocks: set[int] = set()
        self._place: dict[bytes, tuple[int, int]] = {}

    def __contains__(self, key: bytes) -> bool:
        return key in self._place

    @contextlib.contextmanager
    def write_lock(self, progress: Progress) -> Iterator[None]:
        lock = self.folder / "lock"
        with contextlib.ExitStack() as stack:
            with self._write_errors():
                if _is_held(lock):
                    progress.message(f"Another process encodes with this encoder; waiting ({lock})")
                stack.enter_context(locked(lock))
                for left in self.folder.glob(".block-*.tmp*"):  # by a process that was killed
                    left.unlink(missing_ok=True)
            yield

    def read_new_blocks(self) -> None:
        """Takes in the keys of the blocks that were finished since the last call."""
        for path in sorted(self.folder.glob(f"block-{'[0-9]' * 6}.keys")):
            number = int(path.stem.removeprefix("block-"))
            if number in self._blocks:
                continue
            content = path.read_bytes()
            body, digest = content[:-_DIGEST_BYTES], content[-_DIGEST_BYTES:]
            if hashlib.sha256(body).digest() != digest:
                raise _corrupt(path)
            self._take(number, _split(body[_DIGEST_BYTES:]))

    def append(self, keys: list[bytes], vectors: np.ndarray) -> None:
        """Writes one block: the vectors, then the keys that make it count."""
        number = max(self._blocks, default=-1) + 1
        content = io.BytesIO()
        dtype = "<f4" if self._num_dims == 2 else "<f2"
        np.save(content, np.ascontiguousarray(vectors, dtype=dtype), allow_pickle=False)
        body = hashlib.sha256(content.getbuffer()).digest() + b"".join(keys)
        with self._write_errors():
            with atomic_file(self._vectors_file(number)) as temporary:
                temporary.write_bytes(content.getbuffer())
            with atomic_file(self._keys_file(number)) as temporary:
                temporary.write_bytes(body + hashlib.sha256(body).digest())
        self._take(number, keys)

    def vectors(self, keys: list[bytes]) -> np.ndarray:
        """Gathers the features of known keys, in the order of the keys."""
        places = np.array([self._place[key] for key in keys], np.int64).reshape(-1, 2)
        blocks = {int(number): self._read_block(int(number)) for number in np.unique(places[:, 0])}
        if self._num_dims == 2:
            result = np.empty((len(keys), self.dim), np.float32)
        else:
            longest = max((block.shape[1] for block in blocks.values()), default=1)
            result = np.zeros((len(keys), longest, self.dim), np.float16)
        for number, block in blocks.items():
            wanted = np.flatnonzero(places[:, 0] == number)
            found = block[places[wanted, 1]]
            if self._num_dims == 2:
                result[wanted] = found
            else:
                result[wanted, : found.shape[1]] = found
        return result

    def _read_block(self, number: int) -> np.ndarray:
        path = self._vectors_file(number)
        with open(self._keys_file(number), "rb") as keys_file:
            expected = keys_file.read(_DIGEST_BYTES)
        try:
            stored = np.memmap(path, np.uint8, mode="r")
            if hashlib.sha256(stored.data).digest() != expected:
                raise _corrupt(path)
            block: np.ndarray = np.load(path, mmap_mode="r", allow_pickle=False)
        except (OSError, ValueError) as error:  # missing, empty, unreadable
            raise _corrupt(path) from error
        if block.ndim != self._num_dims or block.shape[-1] != self.dim:
            raise _corrupt(path)
        return block

    def _take(self, number: int, keys: list[bytes]) -> None:
        self._blocks.add(number)
        for row, key in enumerate(keys):
            self._place.setdefault(key, (number, row))

    @contextlib.contextmanager
    def _write_errors(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise UsageError(
                f"The feature cache in {self.folder} cannot be written: {error}. Make room or mend "
                "the rights, or name another folder in encoder.cache_folder or TFREC_LLM_CACHE."
            ) from error

    def _vectors_file(self, number: int) -> Path:
        return self.folder / f"block-{number:06d}.npy"

    def _keys_file(self, number: int) -> Path:
        return self.folder / f"block-{number:06d}.keys"


class _PartOf:
    """Tells of a block as part of the whole."""

    def __init__(self, progress: Progress, before: int, total: int) -> None:
        self._progress, self._before, self._total = progress, before, total

    def message(self, text: str) -> None:
        self._progress.message(text)

    def advance(self, task: str, done: int, total: int, note: str = "") -> None:
        self._progress.advance(task, self._before + done, self._total, note)


def _is_held(lock: Path) -> bool:
    lock.parent.mkdir(parents=True, exist_ok=True)
    with open(lock, "a") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
    return False


def _split(keys: bytes) -> list[bytes]:
    return [keys[i : i + _DIGEST_BYTES] for i in range(0, len(keys), _DIGEST_BYTES)]


def _corrupt(path: Path) -> CorruptFileError:
    return CorruptFileError(
        f"{path} no longer holds what was written: it was cut or changed. Delete {path.stem}.npy "
        f"and {path.stem}.keys in {path.parent}; their texts are then encoded again."
    )
