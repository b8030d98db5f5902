"""Reloads an export in a fresh process, asks it again, and compares."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

import tfrec_llm
from tfrec_llm.errors import ExportError
from tfrec_llm.keras_api import tf
from tfrec_llm.serving.plain_tensors import Request, from_json, to_json
from tfrec_llm.serving.servable import Servable
from tfrec_llm.serving.signatures import ALL_SIGNATURES

_TOLERANCE = 5e-3  # of the largest number, at least 1; the other process may run on other kernels
_TIMEOUT_SECONDS = 1800


def check_export(
    version_folder: Path, servable: Servable, requests: Sequence[Request]
) -> list[dict[str, Any]]:
    """Asks an export and the module that it was made of the same, and compares the answers.

    Args:
        version_folder: a folder with a SavedModel.
        servable: what was saved there.
        requests: signatures with their inputs.

    Returns: the ops of the export that TensorFlow does not have, as dicts of `op`, `library` and
        `version`, the last two None for an op of no known library.

    Raises: ExportError when the export cannot be loaded, lacks a signature, answers differently,
        or answers with a number that is not finite.
    """
    custom_ops, answers = ask_in_fresh_process(version_folder, requests)
    for (name, inputs), answer in zip(requests, answers, strict=True):
        expected = ask(servable, name, inputs)
        fault = _difference(expected, answer)
        if fault:
            raise ExportError(
                f"The saved model does not answer as the model in memory does: {fault}, signature "
                f"{name}, inputs {_short(inputs)}. Nothing was exported. The graph may depend on "
                "something that was not saved, such as a Python value or an untracked table."
            )
    return custom_ops


def ask(servable: Any, name: str, inputs: dict[str, Any] | Any) -> dict[str, np.ndarray]:
    """Asks a servable, or a loaded export, for the answer of one signature.

    Args:
        servable: an object that has the signature as a function.
        name: the signature.
        inputs: nested lists by input name.

    Returns: arrays by output name.
    """
    specs = ALL_SIGNATURES[name].inputs
    arrays = {
        key: np.array(
            from_json(to_json(inputs[key])), dtype=object if tensor.dtype == "string" else np.int32
        )
        for key, tensor in specs.items()
    }
    tensors = {
        key: tf.constant(value, specs[key].dtype, shape=value.shape)
        for key, value in arrays.items()
    }
    return {key: value.numpy() for key, value in getattr(servable, name)(**tensors).items()}


def ask_in_fresh_process(
    version_folder: Path, requests: Sequence[Request]
) -> tuple[list[dict[str, Any]], list[dict[str, np.ndarray]]]:
    """Loads an export in a new process, through the loader that servers use, and asks it.

    Args:
        version_folder: a folder with a SavedModel.
        requests: signatures with their inputs.

    Returns: the ops that TensorFlow does not have, and one dict of arrays for each request.

    Raises: ExportError when the process fails.
    """
    with tempfile.TemporaryDirectory() as scratch:
        asked, answered = Path(scratch) / "requests.json", Path(scratch) / "answers.json"
        plain = [[name, {k: to_json(v) for k, v in inputs.items()}] for name, inputs in requests]
        asked.write_text(json.dumps(plain))
        paths = [str(version_folder), str(asked), str(answered)]
        result = subprocess.run(
            [sys.executable, "-m", "tfrec_llm.serving.fresh_process", *paths],
            env=_environment(),
            capture_output=True,
            text=True,
            errors="replace",
            timeout=_TIMEOUT_SECONDS,
            check=False,
        )
        if result.returncode:
            last_lines = " ".join(result.stderr.strip().splitlines()[-3:])[-800:]
            raise ExportError(
                "The saved model cannot be loaded and asked in a fresh process, as a server would "
                f"(exit code {result.returncode}). Nothing was exported. It said: {last_lines}"
            )
        reply = json.loads(answered.read_text())
    answers = [{key: _array(value) for key, value in answer.items()} for answer in reply["answers"]]
    return reply["custom_ops"], answers


def _environment() -> dict[str, str]:
    package_parent = str(Path(tfrec_llm.__file__).resolve().parents[1])
    paths = [package_parent, *filter(None, [os.environ.get("PYTHONPATH")])]
    return {
        **os.environ,
        "PYTHONPATH": os.pathsep.join(paths),
        "TF_CPP_MIN_LOG_LEVEL": "2",
        "CUDA_VISIBLE_DEVICES": "-1",  # the memory of a GPU may be taken by this process
    }


def _array(value: Any) -> np.ndarray:
    array = np.array(from_json(value), dtype=object)
    holds_strings = array.size and isinstance(array.reshape(-1)[0], bytes)
    return array if holds_strings else array.astype(np.float32)


def _difference(expected: dict[str, np.ndarray], answer: dict[str, np.ndarray]) -> str | None:
    """Says how two answers differ, or returns None."""
    if set(expected) != set(answer):
        return f"outputs {sorted(answer)} instead of {sorted(expected)}"
    for name, value in expected.items():
        if value.shape != answer[name].shape:
            return f"{name} of shape {answer[name].shape} instead of {value.shape}"
        if value.dtype == object:
            continue
        if not np.isfinite(answer[name]).all():
            return f"{name} hold NaN or infinity"
        if not np.allclose(value, answer[name], rtol=0, atol=_tolerance(value)):
            return f"{name} differ by up to {np.abs(value - answer[name]).max():.2g}"
    if "item_ids" in expected:
        return _ranking_difference(expected, answer)
    return None


def _ranking_difference(
    expected: dict[str, np.ndarray], answer: dict[str, np.ndarray]
) -> str | None:
    """Compares ranked ids; two items may change places where their scores are all but equal."""
    tolerance = _tolerance(expected["scores"])
    rows, columns = np.nonzero(expected["item_ids"] != answer["item_ids"])
    for row, column in zip(rows, columns, strict=True):
        scores = {
            item: score
            for item, score in zip(expected["item_ids"][row], expected["scores"][row], strict=True)
        }
        item = answer["item_ids"][row, column]
        # An item that was not among the expected ones must tie with the last of them.
        usual = scores.get(item, expected["scores"][row, -1])
        if item == b"" or abs(usual - answer["scores"][row, column]) > tolerance:
            wanted = expected["item_ids"][row, column]
            return f"place {column} of row {row} holds {item!r} instead of {wanted!r}"
    return None


def _tolerance(values: np.ndarray) -> float:
    """Returns how far two answers may differ; dot products of long vectors differ by more."""
    shown = np.abs(values[values > np.finfo(np.float32).min])  # the lowest stands for "nothing"
    return _TOLERANCE * max(1.0, float(shown.max(initial=0.0)))


def _short(inputs: Any) -> str:
    text = repr(dict(inputs))
    return text if len(text) <= 200 else f"{text[:200]}…"
