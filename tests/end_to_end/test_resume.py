"""A training that is killed and goes on comes to what an unbroken one comes to."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load_file

from tfrec_llm.cli.main import main
from tfrec_llm.models.variables_file import read_state

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def killed(new_shop: Callable[[], Path]) -> Path:
    """A shop like `shop`, whose training was killed after a few of its epochs."""
    folder = new_shop()
    words = ["-m", "tfrec_llm", "train", str(folder / "run.yaml"), "--out", str(folder / "run")]
    checkpoint = folder / "run" / "checkpoints" / "select-last.safetensors"
    with open(folder / "train.err", "w") as errors:
        process = subprocess.Popen([sys.executable, *words], stderr=errors, stdout=errors)
        while not checkpoint.exists() or len(read_state(checkpoint)["result"]["losses"]) < 3:
            assert process.poll() is None, (folder / "train.err").read_text()
            time.sleep(0.002)
        os.kill(process.pid, signal.SIGKILL)
        assert process.wait() == -signal.SIGKILL
    assert not (folder / "run" / "training.json").exists()
    return folder


def test_a_killed_run_is_no_run_for_the_other_commands(
    killed: Path, fails: Callable[..., str]
) -> None:
    for arguments in (["evaluate", killed / "run"], ["export", killed / "run", "--out", killed]):
        message = fails(2, *arguments)
        assert "holds no finished training" in message and "--resume" in message


def test_another_configuration_or_other_data_cannot_resume_it(
    killed: Path, new_shop: Callable[[], Path], fails: Callable[..., str]
) -> None:
    saved = (killed / "run" / "config.yaml").read_bytes()
    arguments = ["train", killed / "run.yaml", "--out", killed / "run", "--resume"]
    assert "another configuration" in fails(1, *arguments, "--set", "train.seed=8")
    other = new_shop()
    (other / "items.csv").write_text((other / "items.csv").read_text("latin-1") + "new,new,new\n")
    arguments[1] = other / "run.yaml"
    assert "other data" in fails(1, *arguments)
    assert (killed / "run" / "config.yaml").read_bytes() == saved


def test_it_is_not_overwritten_without_being_asked(killed: Path, fails: Callable[..., str]) -> None:
    message = fails(2, "train", killed / "run.yaml", "--out", killed / "run")
    assert "not empty" in message and "--resume" in message


def test_it_goes_on_to_what_an_unbroken_run_comes_to(
    killed: Path, shop: Path, cli: Callable[..., Any]
) -> None:
    ended = cli("train", killed / "run.yaml", "--out", killed / "run", "--resume")
    assert ended.returncode == 0, ended.stderr
    assert "select: resumed after epoch" in ended.stderr
    unbroken, resumed = (
        json.loads((folder / "run" / "training.json").read_text()) for folder in (shop, killed)
    )
    for key in ("validation_ndcg@10_by_epoch", "best_epoch", "start"):
        assert resumed[key] == unbroken[key]
    expected, found = (
        load_file(folder / "run" / "model" / "towers.safetensors") for folder in (shop, killed)
    )
    for name, weights in expected.items():  # both of a process with one training
        np.testing.assert_array_equal(found[name], weights, err_msg=name)


def test_a_finished_run_says_so_and_stays_as_it_is(
    shop: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = {p: p.stat().st_mtime_ns for p in (shop / "run").rglob("*") if p.is_file()}
    assert main(["train", str(shop / "run.yaml"), "--out", str(shop / "run"), "--resume"]) == 0
    output, errors = capsys.readouterr()
    assert "is trained already" in errors and output == (shop / "train.out").read_text()
    after = {p: p.stat().st_mtime_ns for p in (shop / "run").rglob("*") if p.is_file()}
    assert {p for p in before if before[p] != after[p]} <= {shop / "run" / ".lock"}
