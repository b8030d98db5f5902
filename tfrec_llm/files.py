"""Files that are either whole or not there: atomic writes, checksums, locks."""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import re
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

_ERROR_NUMBER = re.compile(r"\(os error (\d+)\)")  # how libraries in Rust tell of one


def sha256_of_file(path: str | Path) -> str:
    """Returns the sha256 of a file's bytes as lower-case hex.

    Args:
        path: the file to read.

    Example:
        >>> import pathlib, tempfile
        >>> path = pathlib.Path(tempfile.mkdtemp()) / "a"
        >>> _ = path.write_bytes(b"")
        >>> sha256_of_file(path)[:8]
        'e3b0c442'
    """
    with open(path, "rb") as file:
        return (
            hashlib.file_digest(file, "sha256").hexdigest()
            if hasattr(hashlib, "file_digest")
            else _digest_in_blocks(file)
        )


def _digest_in_blocks(file: object) -> str:  # Python 3.10
    digest = hashlib.sha256()
    while block := file.read(1 << 20):  # type: ignore[attr-defined]
        digest.update(block)
    return digest.hexdigest()


@contextlib.contextmanager
def atomic_file(path: str | Path) -> Iterator[Path]:
    """Yields a temporary path beside `path`; on success it takes the place of `path`.

    A reader sees the old file or the new one, never a part. On an error (a full disk, an
    exception in the block) the old file stays and the temporary one is removed.

    Args:
        path: where the file shall appear; its folder is made if it is missing.

    Example:
        >>> import pathlib, tempfile
        >>> path = pathlib.Path(tempfile.mkdtemp()) / "a.txt"
        >>> with atomic_file(path) as temporary:
        ...     _ = temporary.write_text("whole")
        >>> path.read_text()
        'whole'
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp{path.suffix}")
    try:
        with _named_in_errors(path):
            yield temporary
            _flush_to_disk(temporary)
            os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


@contextlib.contextmanager
def atomic_folder(path: str | Path) -> Iterator[Path]:
    """Yields a temporary folder beside `path`; on success it is renamed to `path`.

    Args:
        path: where the folder shall appear. It must not exist, or be an empty folder.

    Raises: FileExistsError when `path` holds something already.

    Example:
        >>> import pathlib, tempfile
        >>> path = pathlib.Path(tempfile.mkdtemp()) / "model"
        >>> with atomic_folder(path) as temporary:
        ...     _ = (temporary / "a").write_text("x")
        >>> [p.name for p in path.iterdir()]
        ['a']
    """
    path = Path(path)
    if path.exists() and (not path.is_dir() or any(path.iterdir())):
        raise FileExistsError(f"{path} exists already")
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = Path(tempfile.mkdtemp(prefix=f".{path.name}.", suffix=".tmp", dir=path.parent))
    try:
        temporary.chmod(0o755)
        with _named_in_errors(path):
            yield temporary
            for file in temporary.rglob("*"):
                if file.is_file():
                    _flush_to_disk(file)
            os.replace(temporary, path)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def check_room(folder: str | Path, num_bytes: int) -> None:
    """Fails where a file does not fit, before a library writes it that tells so in no clear way.

    Args:
        folder: where the file will lie.
        num_bytes: int >= 0, its size.

    Raises: OSError when a file of that size cannot be written there.

    Example:
        >>> check_room(tempfile.mkdtemp(), 1000)
    """
    with tempfile.TemporaryFile(dir=folder) as probe:
        if num_bytes:
            os.posix_fallocate(probe.fileno(), 0, num_bytes)


@contextlib.contextmanager
def locked(path: str | Path) -> Iterator[None]:
    """Holds an exclusive lock on `path` (a file made for it); a second process waits.

    Args:
        path: the lock file. It stays behind, empty.

    Example:
        >>> import pathlib, tempfile
        >>> with locked(pathlib.Path(tempfile.mkdtemp()) / "lock"):
        ...     print("alone")
        alone
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    with open(path, "a") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        try:
            yield
        finally:
            fcntl.flock(file, fcntl.LOCK_UN)


@contextlib.contextmanager
def _named_in_errors(path: Path) -> Iterator[None]:
    """Makes every error of writing an OSError that says which file or folder it was."""
    try:
        yield
    except OSError as error:
        if error.errno is not None and error.filename is None:
            error.filename = str(path)
        raise
    except Exception as error:
        if number := _ERROR_NUMBER.search(str(error)):
            code = int(number[1])
            raise OSError(code, os.strerror(code), str(path)) from error
        raise


def _flush_to_disk(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
