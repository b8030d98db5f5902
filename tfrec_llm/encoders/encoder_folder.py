"""The folder of a saved encoder: written whole or not at all, and read only if nothing changed."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tfrec_llm.encoders.presets import read_json
from tfrec_llm.errors import CorruptFileError, EncoderError, UsageError
from tfrec_llm.files import atomic_folder, sha256_of_file

_FORMAT = 1


@contextlib.contextmanager
def new_encoder_folder(
    folder: str | Path, kind: str, settings: dict[str, Any] | None = None
) -> Iterator[Path]:
    """Yields a temporary folder to write in; afterwards it is `folder`, with an `encoder.json`.

    `encoder.json` holds the kind, the settings, and the sha256 of each file that was written.

    Args:
        folder: must not exist, or be empty.
        kind: what the encoder is, a key of `load_encoder`.
        settings: JSON values.

    Raises: UsageError when the folder holds something.

    Example:
        >>> import tempfile
        >>> folder = Path(tempfile.mkdtemp()) / "encoder"
        >>> with new_encoder_folder(folder, "none", {"dim": 1}) as temporary:
        ...     _ = (temporary / "a.txt").write_text("x")
        >>> read_encoder_folder(folder, "none")["dim"]
        1
    """
    try:
        with atomic_folder(folder) as temporary:
            yield temporary
            files = sorted(p for p in temporary.rglob("*") if p.is_file())
            about = {
                "format": _FORMAT,
                "kind": kind,
                **(settings or {}),
                "files": {str(p.relative_to(temporary)): sha256_of_file(p) for p in files},
            }
            text = json.dumps(about, indent=1, ensure_ascii=False) + "\n"
            (temporary / "encoder.json").write_text(text, encoding="utf-8")
    except FileExistsError as error:
        raise UsageError(f"{folder} holds something already. Give a new folder.") from error


def read_encoder_folder(folder: str | Path, *kinds: str) -> dict[str, Any]:
    """Returns what `encoder.json` of a folder says, after each file was checked against it.

    Args:
        folder: written through `new_encoder_folder`.
        *kinds: the kinds that are expected.

    Raises:
        EncoderError: when the folder holds no encoder, or one of another kind or format.
        CorruptFileError: when a file is missing or changed.
    """
    folder = Path(folder)
    about = read_json(folder / "encoder.json")
    if about.get("format") != _FORMAT or about.get("kind") not in kinds:
        raise EncoderError(
            f"{folder / 'encoder.json'} holds an encoder of the kind {about.get('kind')!r} in "
            f"format {about.get('format')!r}; expected {' or '.join(kinds)} in format {_FORMAT}."
        )
    for name, expected in about["files"].items():
        if not (folder / name).is_file() or sha256_of_file(folder / name) != expected:
            raise CorruptFileError(
                f"{folder / name} is missing or not as it was saved. Save the encoder again."
            )
    return about
