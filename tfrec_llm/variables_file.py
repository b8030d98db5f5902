"""Saves variables as one file, and gives back exactly those or an error."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

from tfrec_llm.errors import CheckpointError, CorruptFileError
from tfrec_llm.files import atomic_file


def save_variables(path: str | Path, variables: Sequence[Any], state: dict[str, Any]) -> None:
    """Writes variables and a JSON state as one safetensors file, atomically.

    Args:
        path: the file; an old one is replaced in one step.
        variables: Keras variables; their order is part of what is saved.
        state: anything JSON can say, such as the epoch.
    """
    arrays = {f"{i:04d}/{v.path}": np.array(v.value, order="C") for i, v in enumerate(variables)}
    text = json.dumps(state)
    metadata = {"state": text, "sha256": _digest(arrays), "state_sha256": _digest_of_text(text)}
    with atomic_file(path) as temporary:
        temporary.write_bytes(save(arrays, metadata=metadata))


def read_state(path: str | Path) -> dict[str, Any]:
    """Returns the JSON state of a file, without its variables.

    Raises: CorruptFileError when the file is not what `save_variables` wrote.
    """
    return _read(Path(path))[1]


def restore_variables(path: str | Path, variables: Sequence[Any]) -> dict[str, Any]:
    """Reads variables back in place and returns the JSON state.

    Args:
        path: a file of `save_variables`.
        variables: Keras variables of the same number, order and shapes.

    Returns: the state that was saved with them.

    Raises:
        CorruptFileError: when the file was changed or cut since it was written.
        CheckpointError: when the variables are others than those saved.
    """
    arrays, state = _read(Path(path))
    values = [arrays[name] for name in sorted(arrays)]
    shapes = [tuple(value.shape) for value in values]
    wanted = [tuple(v.shape) for v in variables]
    if shapes != wanted:
        differing = [(a, b) for a, b in zip(shapes, wanted, strict=False) if a != b]
        what = f"{len(shapes)} variables, not {len(wanted)}"
        if len(shapes) == len(wanted):
            what = f"a variable of shape {differing[0][0]} where {differing[0][1]} is wanted"
        raise CheckpointError(
            f"{path} holds {what}: it was saved from a model of another shape. Start without "
            "--resume in a new folder, or use the configuration that the file was written with."
        )
    for variable, value in zip(variables, values, strict=True):
        variable.assign(value)
    return state


def _read(path: Path) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    remedy = "Delete it and start again, or restore it from a copy."
    try:
        with safe_open(path, framework="numpy") as file:
            metadata = file.metadata() or {}
            arrays = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except (SafetensorError, ValueError, TypeError) as error:
        raise CorruptFileError(
            f"{path} cannot be read ({error}): it was cut or changed. {remedy}"
        ) from error
    text = metadata.get("state", "")
    wanted = metadata.get("sha256"), metadata.get("state_sha256", _digest_of_text(text))
    if wanted != (_digest(arrays), _digest_of_text(text)):
        raise CorruptFileError(f"{path} does not hold what was written (sha256 differs). {remedy}")
    return arrays, json.loads(text)


def _digest(arrays: dict[str, np.ndarray]) -> str:
    digest = hashlib.sha256()
    for name in sorted(arrays):
        digest.update(name.encode())
        digest.update(arrays[name].tobytes())
    return digest.hexdigest()


def _digest_of_text(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
