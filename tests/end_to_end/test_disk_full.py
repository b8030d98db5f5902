"""A disk that takes no more: an error that says so and where, and nothing half written."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.slow

# The process sets the limit itself: set between fork and exec it would run beside the handlers
# that gRPC's threads in this process hook onto every fork, which abort the child now and then.
LIMITED = """
import resource, sys
from tfrec_llm.cli.main import main
most = int(sys.argv.pop(1))
resource.setrlimit(resource.RLIMIT_FSIZE, (most, most))
sys.exit(main())
"""


def told(most_bytes: int, *arguments: Any) -> str:
    """Runs a command that cannot write files above a size; returns the error it tells."""
    words = [sys.executable, "-c", LIMITED, str(most_bytes), *map(str, arguments)]
    ended = subprocess.run(words, capture_output=True, text=True)
    assert ended.returncode == 1 and ended.stdout == "", ended.stderr
    assert "Traceback" not in ended.stderr
    last = str(ended.stderr.splitlines()[-1])
    assert last.startswith("Error: ") and "File too large" in last
    return last


def test_an_export_that_does_not_fit_leaves_the_others(shop: Path, tmp_path: Path) -> None:
    (tmp_path / "export" / "1").mkdir(parents=True)
    message = told(20_000, "export", shop / "run", "--out", tmp_path / "export")
    assert str(tmp_path / "export") in message and "Free some space" in message
    assert [p.name for p in (tmp_path / "export").iterdir() if p.name != ".lock"] == ["1"]


def test_lists_that_do_not_fit_leave_the_run_as_it_was(shop: Path, tmp_path: Path) -> None:
    run = Path(shutil.copytree(shop / "run", tmp_path / "run"))
    for name in ("metrics.json", "rankings.parquet"):
        (run / name).unlink(missing_ok=True)
    before = sorted(p.name for p in run.iterdir())
    assert str(run / "rankings.parquet") in told(2_000, "evaluate", run)
    assert sorted(p.name for p in run.iterdir()) == before


def test_a_training_goes_on_when_there_is_room_again(
    new_shop: Callable[[], Path], cli: Callable[..., Any]
) -> None:
    folder = new_shop()
    arguments = ["train", folder / "run.yaml", "--out", folder / "run", "--set", "train.epochs=1"]
    message = told(20_000, *arguments)
    assert str(folder / "run" / "checkpoints") in message and "Make room" in message
    ended = cli(*arguments, "--resume")
    assert ended.returncode == 0, ended.stderr
    assert not list((folder / "run").rglob("*.tmp*"))
