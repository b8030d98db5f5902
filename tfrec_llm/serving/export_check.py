"""Reloads an export in a fresh process, asks it again, and compares."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from tfrec_llm.errors import ExportError
from tfrec_llm.keras_api import tf
from tfrec_llm.serving.answer_difference import difference
from tfrec_llm.serving.examination import examine
from tfrec_llm.serving.plain_tensors import Request, from_json, to_json
from tfrec_llm.serving.servable import Servable
from tfrec_llm.serving.signatures import ALL_SIGNATURES


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
        fault = difference(expected, answer)
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
            from_json(to_json(inputs[key])),
            dtype=object if tensor.dtype == "string" else tensor.dtype,
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

    Raises: ExportError when the export cannot be loaded, or a request fails.
    """
    found = examine(version_folder, requests)
    fault = found.load_error or next(filter(None, found.errors), None)
    if fault:
        raise ExportError(
            "The saved model cannot be loaded and asked in a fresh process, as a server would. "
            f"Nothing was exported. It said: {fault}"
        )
    return found.custom_ops, [answer for answer in found.answers if answer is not None]


def _short(inputs: Any) -> str:
    text = repr(dict(inputs))
    return text if len(text) <= 200 else f"{text[:200]}…"
