"""Fixtures that every part of the tests shares."""

from __future__ import annotations

import os
from pathlib import Path

import hypothesis
import pytest

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

# No test asserts on a clock: an example may take long where the machine is busy.
hypothesis.settings.register_profile("no_deadline", deadline=None)
hypothesis.settings.load_profile("no_deadline")

_ROOT = Path(__file__).resolve().parents[1]


@pytest.hookimpl(tryfirst=True)  # before the groups are read
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Keeps the tests of a folder in one process: they share what is trained once for all."""
    for item in items:  # doctests of the package too
        item.add_marker(pytest.mark.xdist_group(item.path.parent.name))


def pytest_collection_finish(session: pytest.Session) -> None:
    """Fails where groups were not read: every process would train everything once more."""
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
