"""An export, loaded and asked in a process of its own."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

import tfrec_llm
from tfrec_llm.serving.plain_tensors import Request, from_json, to_json

_TIMEOUT_SECONDS = 1800


@dataclass(frozen=True)
class Examination:
    """What a fresh process found.

    Attributes:
        custom_ops: the ops that TensorFlow does not have, as dicts of `op`, `library` and
            `version`, the last two None for an op of no installed library.
        load_error: what stood in the way of loading, or of the whole process; None if it loads.
        answers: arrays by output name for each request; None where it failed.
        errors: why each request failed, or None.
    """

    custom_ops: list[dict[str, Any]]
    load_error: str | None
    answers: list[dict[str, np.ndarray] | None]
    errors: list[str | None]


def examine(version_folder: Path, requests: Sequence[Request]) -> Examination:
    """Loads an export in a new process, through the loader that servers use, and asks it.

    Only the op libraries whose ops stand in the graph are registered there.

    Args:
        version_folder: a folder with a SavedModel.
        requests: signatures with their inputs.
    """
    with tempfile.TemporaryDirectory() as scratch:
        asked, answered = Path(scratch) / "requests.json", Path(scratch) / "answers.json"
        plain = [[name, {k: to_json(v) for k, v in inputs.items()}] for name, inputs in requests]
        asked.write_text(json.dumps(plain))
        paths = [str(version_folder), str(asked), str(answered)]
        code, said = _run([sys.executable, "-m", "tfrec_llm.serving.fresh_process", *paths])
        reply = json.loads(answered.read_text()) if answered.is_file() else {"custom_ops": []}
    if code:
        return Examination(reply["custom_ops"], f"{_end_of_process(code)}. {said}".strip(), [], [])
    answers = [
        None if answer is None else {key: _array(value) for key, value in answer.items()}
        for answer in reply["answers"]
    ]
    return Examination(reply["custom_ops"], reply["load_error"], answers, reply["errors"])


def _run(command: list[str]) -> tuple[int, str]:
    """Returns the exit code of a process and the end of what it said."""
    package_parent = str(Path(tfrec_llm.__file__).resolve().parents[1])
    paths = [package_parent, *filter(None, [os.environ.get("PYTHONPATH")])]
    result = subprocess.run(
        command,
        env={
            **os.environ,
            "PYTHONPATH": os.pathsep.join(paths),
            "TF_CPP_MIN_LOG_LEVEL": "2",
            "CUDA_VISIBLE_DEVICES": "-1",  # the memory of a GPU may be taken by this process
        },
        capture_output=True,
        text=True,
        errors="replace",
        timeout=_TIMEOUT_SECONDS,
        check=False,
    )
    return result.returncode, " ".join(result.stderr.strip().splitlines()[-3:])[-800:]


def _end_of_process(code: int) -> str:
    if code < 0:
        return f"the process crashed with {signal.Signals(-code).name}"
    return f"the process ended with exit code {code}"


def _array(value: Any) -> np.ndarray:
    array = np.array(from_json(value), dtype=object)
    holds_strings = array.size and isinstance(array.reshape(-1)[0], bytes)
    return array if holds_strings else array.astype(np.float32)
