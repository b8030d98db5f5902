"""A disk that takes no more: an error that says so and where, and nothing half written."""

from __future__ import annotations

import resource
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.slow


@pytest.fixture
def told(cli: Callable[..., Any]) -> Callable[..., str]:
    """Runs a command that cannot write files above a size; returns the error it tells."""

    def run(most_bytes: int, *arguments: Any) -> str:
        def limit() -> None:
            resource.setrlimit(resource.RLIMIT_FSIZE, (most_bytes, most_bytes))

        ended = cli(*arguments, preexec_fn=limit)
        assert ended.returncode == 1 and ended.stdout == "" and "Traceback" not in ended.stderr
        last = str(ended.stderr.splitlines()[-1])
        assert last.startswith("Error: ") and "File too large" in last
        return last

    return run


def test_an_export_that_does_not_fit_leaves_the_others(
    shop: Path, tmp_path: Path, told: Callable[..., str]
) -> None:
    (tmp_path / "export" / "1").mkdir(parents=True)
    message = told(20_000, "export", shop / "run", "--out", tmp_path / "export")
    assert str(tmp_path / "export") in message and "Free some space" in message
    assert [p.name for p in (tmp_path / "export").iterdir() if p.name != ".lock"] == ["1"]


def test_lists_that_do_not_fit_leave_the_run_as_it_was(
    shop: Path, tmp_path: Path, told: Callable[..., str]
) -> None:
    run = Path(shutil.copytree(shop / "run", tmp_path / "run"))
    for name in ("metrics.json", "rankings.parquet"):
        (run / name).unlink(missing_ok=True)
    before = sorted(p.name for p in run.iterdir())
    assert str(run / "rankings.parquet") in told(2_000, "evaluate", run)
    assert sorted(p.name for p in run.iterdir()) == before


def test_a_training_goes_on_when_there_is_room_again(
    new_shop: Callable[[], Path], told: Callable[..., str], cli: Callable[..., Any]
) -> None:
    folder = new_shop()
    arguments = ["train", folder / "run.yaml", "--out", folder / "run", "--set", "train.epochs=1"]
    message = told(20_000, *arguments)
    assert str(folder / "run" / "checkpoints") in message and "Make room" in message
    ended = cli(*arguments, "--resume")
    assert ended.returncode == 0, ended.stderr
    assert not list((folder / "run").rglob("*.tmp*"))
