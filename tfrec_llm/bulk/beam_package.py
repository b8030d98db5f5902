"""The optional package that runs pipelines."""

from __future__ import annotations

import importlib.util

from tfrec_llm.errors import MissingPackageError


def require_beam(purpose: str) -> None:
    """Raises where Apache Beam is not installed.

    Args:
        purpose: what it is needed for, for the message.

    Raises: MissingPackageError when it is not installed.
    """
    if importlib.util.find_spec("apache_beam") is None:
        raise MissingPackageError("apache-beam", purpose, "beam")
