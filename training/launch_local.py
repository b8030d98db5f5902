"""Trains on several workers of this machine: the same options as `tfrec-llm train`, and --workers.

python training/launch_local.py RUN.yaml --out runs/RUN --workers 2

It sets `train.strategy` to multi_worker, and starts a process for each worker on ports that are
free. When one of them fails, the others are stopped. It ends with the exit code of the worker that
failed first, or 0.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from types import FrameType
from typing import IO

GRACE_SECONDS = 10.0  # between a polite stop and a hard one
LINGER_SECONDS = 30.0  # in which the others may tell by themselves that one is gone


def main(arguments: Sequence[str] | None = None) -> int:
    """Starts the workers and waits for them.

    Args:
        arguments: the words after the program's name. Defaults to those of the process.

    Returns: 0, or the exit code of the worker that failed first; of one that a signal ended, 128 +
        its number. 143 or 130 when this process was told to stop.
    """
    parser = argparse.ArgumentParser(
        description="Trains on several workers of this machine.",
        epilog="Example: python training/launch_local.py run.yaml --out runs/books --workers 2",
        usage="launch_local.py [-h] --workers N CONFIG.yaml --out RUN [options of train]",
        allow_abbrev=False,
    )
    parser.add_argument("--workers", type=_positive, required=True, metavar="N", help="how many")
    options, words = parser.parse_known_args(arguments)
    command = [sys.executable, "-m", "tfrec_llm", "train", *words]
    command += ["--set", "train.strategy=multi_worker"]

    told_to_stop: list[int] = []

    def stop(number: int, _: FrameType | None) -> None:
        told_to_stop.append(number)

    # Before there are workers: none shall be left behind.
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, stop)
    workers = _start(command, options.workers)
    readers = [_prefixed(worker, number) for number, worker in enumerate(workers)]
    try:
        code = _wait(workers, told_to_stop)
    finally:
        _stop(workers)
        for reader in readers:
            reader.join()
    return code


def _positive(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is no whole number of 1 or more")
    return int(text)


def _start(command: Sequence[str], count: int) -> list[subprocess.Popen[str]]:
    # Held until all are known, so that no two are the same.
    sockets = [socket.socket() for _ in range(count)]
    for held in sockets:
        held.bind(("localhost", 0))
    addresses = [f"localhost:{held.getsockname()[1]}" for held in sockets]
    for held in sockets:
        held.close()
    workers = []
    for number in range(count):
        task = {"type": "worker", "index": number}
        environment = {
            **os.environ,
            "TF_CONFIG": json.dumps({"cluster": {"worker": addresses}, "task": task}),
        }
        workers.append(
            subprocess.Popen(
                command,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                errors="replace",
                start_new_session=True,  # Ctrl-C reaches this process alone, which passes it on
            )
        )
    return workers


def _prefixed(worker: subprocess.Popen[str], number: int) -> threading.Thread:
    """Prints the lines of a worker as they come, each with its number before it."""
    assert worker.stdout is not None

    def read(lines: IO[str]) -> None:
        for line in lines:
            sys.stdout.write(f"[worker {number}] {line.rstrip()}\n")
            sys.stdout.flush()

    thread = threading.Thread(target=read, args=(worker.stdout,), daemon=True)
    thread.start()
    return thread


def _wait(workers: Sequence[subprocess.Popen[str]], told_to_stop: Sequence[int]) -> int:
    """Returns when all are done, when one failed and the others had time, or when told to."""
    first_failure = 0
    deadline = None
    while any(worker.poll() is None for worker in workers):
        if told_to_stop:
            return 128 + told_to_stop[0]
        failed = [w.returncode for w in workers if w.poll() is not None and w.returncode != 0]
        if failed and not first_failure:
            first_failure = failed[0]
            deadline = time.monotonic() + LINGER_SECONDS
        if deadline is not None and time.monotonic() > deadline:
            break
        time.sleep(0.1)
    codes = [first_failure, *(w.returncode for w in workers if w.returncode)]
    code = next((code for code in codes if code), 0)
    return 128 - code if code < 0 else code


def _stop(workers: Sequence[subprocess.Popen[str]]) -> None:
    """Ends the workers that still run: politely, then not."""
    for worker in workers:
        if worker.poll() is None:
            worker.terminate()
    deadline = time.monotonic() + GRACE_SECONDS
    for worker in workers:
        try:
            worker.wait(max(0.0, deadline - time.monotonic()))
        except subprocess.TimeoutExpired:
            worker.kill()
            worker.wait()


if __name__ == "__main__":
    sys.exit(main())
