"""The optional package `implicit`, imported in one place."""

from __future__ import annotations

import contextlib
import importlib
from collections.abc import Iterator
from typing import Any

from threadpoolctl import threadpool_limits

from tfrec_llm.errors import MissingPackageError


def implicit_module(name: str, purpose: str) -> Any:
    """Returns a module of `implicit`, or says how to install it.

    Args:
        name: str, such as "als".
        purpose: str, what needs it, for the error.

    Raises: MissingPackageError when `implicit` is not installed.

    Example:
        >>> implicit_module("als", "the baseline `als`").__name__
        'implicit.als'
    """
    try:
        importlib.import_module("implicit")
    except ModuleNotFoundError as error:
        if error.name != "implicit":
            raise
        raise MissingPackageError("implicit", purpose, "baselines") from error
    return importlib.import_module(f"implicit.{name}")


@contextlib.contextmanager
def one_blas_thread() -> Iterator[None]:
    """Keeps BLAS to one thread inside `implicit`, whose own threads it would fight.

    Example:
        >>> with one_blas_thread():
        ...     print("quick")
        quick
    """
    with threadpool_limits(limits=1, user_api="blas"):
        yield
