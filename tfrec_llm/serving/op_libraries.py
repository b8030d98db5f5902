"""The libraries that register ops which TensorFlow itself does not have."""

from __future__ import annotations

import importlib
import importlib.metadata
import importlib.util
from collections.abc import Iterable
from pathlib import Path

from tfrec_llm.errors import ExportError, MissingPackageError

# By the name under which they are installed. Nothing else named by a file is ever imported.
_MODULES = {"tensorflow-text": "tensorflow_text", "scann": "scann"}
_EXTRAS = {"tensorflow-text": "serving", "scann": "scann"}
# Where a library keeps the shared objects of its ops, below its module.
_OP_FILES = {"tensorflow-text": "python/*/_*.so", "scann": "scann_ops/cc/_scann_ops.so"}
KNOWN = tuple(_MODULES)


def register_ops(libraries: Iterable[str]) -> None:
    """Loads libraries so that a graph with their ops can be loaded.

    Args:
        libraries: names among `KNOWN`.

    Raises:
        ExportError: when a library is not one of those.
        MissingPackageError: when a library is not installed.

    Example:
        >>> register_ops([])
    """
    for library in libraries:
        if library not in _MODULES:
            raise ExportError(
                f"The export asks for ops of {library!r}, which is none of "
                f"{', '.join(KNOWN)}. It was not written by this version of tfrec_llm."
            )
        try:
            importlib.import_module(_MODULES[library])
        except ImportError as error:
            raise MissingPackageError(library, "Loading this export", _EXTRAS[library]) from error


def library_files(library: str) -> list[Path]:
    """Returns the shared objects with which a program without Python loads the ops of a library.

    Args:
        library: a name among `KNOWN`.

    Raises: MissingPackageError when the library is not installed.
    """
    found = importlib.util.find_spec(_MODULES[library])
    if found is None or found.origin is None:
        raise MissingPackageError(library, "Loading this export", _EXTRAS[library])
    return sorted(Path(found.origin).parent.glob(_OP_FILES[library]))


def installed_version(library: str) -> str | None:
    """Returns the version of an installed library, or None.

    Example:
        >>> installed_version("no-such-library") is None
        True
    """
    try:
        return importlib.metadata.version(library)
    except importlib.metadata.PackageNotFoundError:
        return None
