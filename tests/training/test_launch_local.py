"""The launcher with workers that only pretend: a package of the same name in their path."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

LAUNCHER = Path(__file__).resolve().parents[2] / "training" / "launch_local.py"
WORKER = """
import json, os, pathlib, sys, time
task = json.loads(os.environ["TF_CONFIG"])["task"]["index"]
mode = sys.argv[2]
print("config", os.environ["TF_CONFIG"], flush=True)
print("words", json.dumps(sys.argv[1:]), file=sys.stderr, flush=True)
here = pathlib.Path(__file__).parent
(here / f"pid {task}").write_text(str(os.getpid()))
if mode == "fails" and task == 1:
    sys.exit(2)
if mode == "is killed" and task == 0:
    os.kill(os.getpid(), 9)
if mode in ("fails", "is killed", "runs on"):
    time.sleep(600)
"""


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    package = tmp_path / "tfrec_llm"
    package.mkdir()
    (package / "__init__.py").touch()
    (package / "__main__.py").write_text(WORKER)
    return {**os.environ, "PYTHONPATH": str(tmp_path)}


def launched(
    words: list[str], environment: dict[str, str], linger: float = 0.2
) -> subprocess.Popen[str]:
    # The time that the others are given to end by themselves is cut short here.
    code = (
        "import runpy, sys; sys.argv = sys.argv[1:]; "
        "module = runpy.run_path(sys.argv[0], run_name='launcher'); "
        f"module['main'].__globals__['LINGER_SECONDS'] = {linger}; sys.exit(module['main']())"
    )
    return subprocess.Popen(
        [sys.executable, "-c", code, str(LAUNCHER), *words],
        env=environment,
        cwd=environment["PYTHONPATH"],  # where `python -m` looks first
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def is_alive(folder: Path, worker: int) -> bool:
    pid = int((folder / "tfrec_llm" / f"pid {worker}").read_text())
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def test_each_worker_gets_its_place_in_one_cluster_and_the_options_of_train(
    environment: dict[str, str],
) -> None:
    process = launched(["ends", "--workers", "3", "--out", "x", "--resume"], environment)
    output, _ = process.communicate(timeout=60)
    assert process.returncode == 0, output
    clusters, indices = [], []
    for line in output.splitlines():
        prefix, _, rest = line.partition("] ")
        if rest.startswith("config "):
            config = json.loads(rest.removeprefix("config "))
            clusters.append(config["cluster"]["worker"])
            indices.append(config["task"]["index"])
            assert prefix == f"[worker {config['task']['index']}"
        else:
            words = json.loads(rest.removeprefix("words "))
            assert words[:5] == ["train", "ends", "--out", "x", "--resume"]
            assert words[5:] == ["--set", "train.strategy=multi_worker"]
    assert sorted(indices) == [0, 1, 2]
    assert len(set(clusters[0])) == 3 and clusters[0] == clusters[1] == clusters[2]


@pytest.mark.parametrize(("mode", "code"), [("fails", 2), ("is killed", 128 + signal.SIGKILL)])
def test_when_one_worker_fails_all_end_with_its_exit_code(
    mode: str, code: int, environment: dict[str, str], tmp_path: Path
) -> None:
    process = launched([mode, "--workers", "2"], environment)
    output, _ = process.communicate(timeout=60)
    assert process.returncode == code, output
    assert not is_alive(tmp_path, 0) and not is_alive(tmp_path, 1)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_all_workers(
    number: signal.Signals, environment: dict[str, str], tmp_path: Path
) -> None:
    process = launched(["runs on", "--workers", "2"], environment)
    assert process.stdout is not None
    seen: set[str] = set()
    while len(seen) < 4:  # both lines of both workers: they run
        seen.add(process.stdout.readline())
    process.send_signal(number)
    process.communicate(timeout=60)
    assert process.returncode == 128 + number
    assert not is_alive(tmp_path, 0) and not is_alive(tmp_path, 1)


@pytest.mark.parametrize("workers", ["0", "-1", "two"])
def test_a_number_of_workers_that_is_none_is_a_usage_error(
    workers: str, environment: dict[str, str]
) -> None:
    process = launched(["x.yaml", f"--workers={workers}"], environment)
    output, _ = process.communicate(timeout=60)
    assert process.returncode == 2
    assert "whole number of 1 or more" in output
