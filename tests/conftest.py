"""Fixtures that every part of the tests shares."""

from __future__ import annotations

import gc
import importlib.metadata
import os
from pathlib import Path

import hypothesis
import pytest
from packaging.requirements import Requirement

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

# No test asserts on a clock: an example may take long where the machine is busy.
hypothesis.settings.register_profile("no_deadline", deadline=None)
hypothesis.settings.load_profile("no_deadline")

_ROOT = Path(__file__).resolve().parents[1]


def pytest_configure(config: pytest.Config) -> None:
    """Registers the mark of what one of the two environments lacks; both run all other tests."""
    config.addinivalue_line(
        "markers", "needs(requirement, reason): skipped, with the reason, where it is not installed"
    )


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Skips a test whose mark `needs` names a package that is not there, or is too old."""
    for mark in item.iter_markers("needs"):
        requirement, reason = Requirement(mark.args[0]), mark.args[1]
        try:
            installed = importlib.metadata.version(requirement.name)
        except importlib.metadata.PackageNotFoundError:
            installed = None
        if installed is None or not requirement.specifier.contains(installed):
            pytest.skip(f"needs {requirement} (here: {installed}): {reason}")


@pytest.hookimpl(tryfirst=True)  # before the groups are read
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Keeps the tests of a folder in one process: they share what is trained once for all."""
    for item in items:  # doctests of the package too
        item.add_marker(pytest.mark.xdist_group(item.path.parent.name))


def pytest_collection_finish(session: pytest.Session) -> None:
    """Fails where groups were not read: every process would train everything once more."""
    # Tracing a graph makes millions of objects that live on; looking through them again and again
    # is an eighth of the time of these tests. What was imported is never looked through.
    gc.freeze()
    gc.set_threshold(200_000, 20, 50)
    is_grouped = all("@" in item.nodeid for item in session.items)
    if getattr(session.config.option, "loadgroup", False) and not is_grouped:
        raise pytest.UsageError("This pytest does not let pytest-xdist read its groups.")


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Folder of the real data sets; a test that asks for it is skipped where it is absent."""
    folder = Path(os.environ.get("TFREC_LLM_DATA", _ROOT.parent / "shared" / "data"))
    if not folder.is_dir():
        pytest.skip(f"the real data sets are not at {folder} (set TFREC_LLM_DATA)")
    return folder
