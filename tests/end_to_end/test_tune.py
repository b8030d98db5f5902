"""A search for settings by commands, each a process of its own: one is killed and goes on."""

from __future__ import annotations

import csv
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.slow
SPACE = "train.learning_rate: {low: 1e-3, high: 1e-1, log: true}\ntowers.history: [mean, gru]\n"
QUICK = ("--set", "train.epochs=2", "--set", "train.batch_size=32", "--set", "towers.history=mean")


def rows(study: Path) -> list[dict[str, str]]:
    with open(study / "trials.csv", encoding="utf-8", newline="") as file:
        return [{k: v for k, v in row.items() if k != "seconds"} for row in csv.DictReader(file)]


@pytest.fixture(scope="module")
def space_shop(new_shop: Callable[[], Path]) -> Path:
    folder = new_shop()
    (folder / "space.yaml").write_text(SPACE)
    return folder


def words(shop: Path, study: str, trials: int, *more: str) -> list[str]:
    return [
        *("tune", str(shop / "run.yaml"), "--trials", str(trials), "--out", str(shop / study)),
        *("--space", str(shop / "space.yaml"), *QUICK, *more),
    ]


def test_a_search_that_is_killed_goes_on_with_the_same_command(
    space_shop: Path, done: Callable[..., Any]
) -> None:
    unbroken = json.loads(done(*words(space_shop, "unbroken", 2, "--json")).stdout)
    study = space_shop / "killed"
    with open(space_shop / "tune.err", "w") as errors:
        process = subprocess.Popen(
            [sys.executable, "-m", "tfrec_llm", *words(space_shop, "killed", 2)],
            stdout=errors,
            stderr=errors,
        )
        while "trial 1: epoch 1" not in (space_shop / "tune.err").read_text():
            assert process.poll() is None, (space_shop / "tune.err").read_text()
            time.sleep(0.005)
        os.kill(process.pid, signal.SIGKILL)
        assert process.wait() == -signal.SIGKILL
    assert [row["trial"] for row in rows(study)] == ["0"]
    resumed = json.loads(done(*words(space_shop, "killed", 2, "--json", "--resume")).stdout)
    assert rows(study) == rows(space_shop / "unbroken")
    assert resumed["best"] == unbroken["best"] and resumed["trials"]["complete"] == 2
    assert sorted(p.name for p in study.iterdir() if p.name != ".lock") == [
        *("best.yaml", "report.md", "study.db", "trials.csv")
    ]


def test_the_best_configuration_trains_from_another_folder(
    space_shop: Path, cli: Callable[..., Any], tmp_path: Path
) -> None:
    study = space_shop / "unbroken"
    if not study.exists():
        assert cli(*words(space_shop, "unbroken", 2)).returncode == 0
    ended = cli("train", study / "best.yaml", "--out", tmp_path / "run", cwd="/")
    assert ended.returncode == 0, ended.stderr


def test_a_fault_in_the_space_is_told_before_any_work(
    space_shop: Path, cli: Callable[..., Any]
) -> None:
    (space_shop / "faulty.yaml").write_text("train.learningrate: [0.1]\n")
    out = space_shop / "never"
    ended = cli(
        *("tune", space_shop / "run.yaml", "--trials", 2, "--out", out),
        *("--space", space_shop / "faulty.yaml"),
    )
    assert (ended.returncode, ended.stdout) == (2, "")
    assert "faulty.yaml, line 1: train.learningrate: there is no such key" in ended.stderr
    assert "train.learning_rate" in ended.stderr and not out.exists()
