"""The libraries that register ops which TensorFlow itself does not have."""

from __future__ import annotations

import importlib
import importlib.metadata
from collections.abc import Iterable

from tfrec_llm.errors import ExportError, MissingPackageError

# By the name under which they are installed. Nothing else named by a file is ever imported.
_MODULES = {"tensorflow-text": "tensorflow_text", "scann": "scann"}
_EXTRAS = {"tensorflow-text": "serving", "scann": "scann"}
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
