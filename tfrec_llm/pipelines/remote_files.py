"""Folders of a pipeline, which may lie in a bucket, as folders of this machine.

The package reads and writes local files; what TFX calls a URI may be one of those or an address
such as `gs://bucket/folder`, which TensorFlow's file systems can read and write.
"""

from __future__ import annotations

import contextlib
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

from tfrec_llm.keras_api import tf


def is_remote(uri: str) -> bool:
    """Tells whether a URI is an address, not a path.

    Example:
        >>> is_remote("gs://bucket/folder"), is_remote("/tmp/folder")
        (True, False)
    """
    return "://" in uri


def copy_folder(source: str | Path, target: str | Path) -> None:
    """Copies all files below a folder; either may be an address.

    Args:
        source: the folder.
        target: made if missing; files of the same names are replaced.
    """
    source, target = str(source).rstrip("/"), str(target).rstrip("/")
    tf.io.gfile.makedirs(target)
    for folder, _, names in tf.io.gfile.walk(source):
        inner = folder.rstrip("/")[len(source) :].strip("/")
        there = os.path.join(target, inner) if inner else target
        tf.io.gfile.makedirs(there)
        for name in names:
            tf.io.gfile.copy(os.path.join(folder, name), os.path.join(there, name), overwrite=True)


@contextlib.contextmanager
def local_input(uri: str) -> Iterator[Path]:
    """Yields a local folder with what lies at a URI: itself, or a copy for the while.

    Args:
        uri: path or address of a folder.
    """
    if not is_remote(uri):
        yield Path(uri)
        return
    with tempfile.TemporaryDirectory(prefix="tfrec_llm_") as folder:
        copy_folder(uri, folder)
        yield Path(folder)


@contextlib.contextmanager
def local_output(uri: str) -> Iterator[Path]:
    """Yields a local folder to write into; on success its content lies at the URI.

    Args:
        uri: path or address of a folder; made if missing.
    """
    if not is_remote(uri):
        Path(uri).mkdir(parents=True, exist_ok=True)
        yield Path(uri)
        return
    with tempfile.TemporaryDirectory(prefix="tfrec_llm_") as folder:
        yield Path(folder)
        copy_folder(folder, uri)
