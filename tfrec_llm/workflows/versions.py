"""Versions of the packages that shape a result."""

from __future__ import annotations

import importlib.metadata
import platform

import tfrec_llm

_PACKAGES = (
    "tensorflow", "tf_keras", "keras", "keras-nlp", "tensorflow-text",
    "tensorflow-recommenders", "scann", "numpy", "polars", "scikit-learn", "implicit",
)  # fmt: skip


def package_versions() -> dict[str, str]:
    """Returns package name → version, of those that are installed.

    Example:
        >>> sorted(package_versions())[:2]
        ['implicit', 'keras']
    """
    versions = {"python": platform.python_version(), "tfrec_llm": tfrec_llm.__version__}
    for package in _PACKAGES:
        try:
            versions[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            continue
    return versions
