"""Run as a program: loads an export as TensorFlow Serving does, and asks it.

    python -m tfrec_llm.serving.fresh_process VERSION_FOLDER REQUESTS.json ANSWERS.json

It starts with plain TensorFlow and no Keras, finds out which ops of the export TensorFlow lacks
and which library brings them, loads the export with the session loader, and writes the answers.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any

import numpy as np

from tfrec_llm.serving import op_libraries
from tfrec_llm.serving.plain_tensors import from_json, to_json
from tfrec_llm.serving.saved_graph import read_saved_graph

_MOST_CHARACTERS = 500  # of an error; TensorFlow's may list a whole graph


def main(version_folder: str, requests_file: str, answers_file: str) -> None:
    """Writes `{"custom_ops": […], "load_error": …, "answers": […], "errors": […]}`.

    Args:
        version_folder: folder of the SavedModel.
        requests_file: JSON list of `[signature, {input: value}]`, see `plain_tensors`.
        answers_file: written; one answer `{output: value}` for each request, in order, None where
            it failed, and in `errors` the reason or None. The ops are written before the export
            is loaded, so that they are known even if loading ends the process.
    """
    os.environ["TF_USE_LEGACY_KERAS"] = "1"
    import tensorflow as tf

    reply: dict[str, Any] = {
        "custom_ops": _custom_ops(Path(version_folder)),
        "load_error": None,
        "answers": [],
        "errors": [],
    }
    Path(answers_file).write_text(json.dumps(reply))
    requests = json.loads(Path(requests_file).read_text())
    with tf.compat.v1.Session(graph=tf.Graph()) as session:
        loader = tf.compat.v1.saved_model.loader
        try:
            meta_graph = loader.load(session, ["serve"], version_folder)
        except Exception as error:  # whatever it is, a server would not load it either
            reply["load_error"] = _paragraph(error)
            requests = []
        for name, inputs in requests:
            answer, fault = None, None
            try:
                answer = _ask(tf, session, _signature(meta_graph, name), inputs)
            except Exception as error:  # likewise
                fault = _paragraph(error)
            reply["answers"].append(answer)
            reply["errors"].append(fault)
    Path(answers_file).write_text(json.dumps(reply))


def _custom_ops(version_folder: Path) -> list[dict[str, str | None]]:
    """Returns each op of the graph that TensorFlow lacks, with the library that registers it."""
    from tensorflow.python.framework import op_def_registry

    ops = read_saved_graph(version_folder).ops
    missing = {op for op in ops if op_def_registry.get(op) is None}

    found: list[dict[str, str | None]] = []
    for library in op_libraries.KNOWN:
        if not missing:
            break
        version = op_libraries.installed_version(library)
        if version is None:
            continue
        op_libraries.register_ops([library])
        brought = {op for op in missing if op_def_registry.get(op) is not None}
        found += [{"op": op, "library": library, "version": version} for op in brought]
        missing -= brought
    found += [{"op": op, "library": None, "version": None} for op in missing]
    return sorted(found, key=lambda entry: str(entry["op"]))


def _signature(meta_graph: Any, name: str) -> Any:
    if name not in meta_graph.signature_def:  # the map would make an empty one
        raise KeyError(f"there is no signature {name!r}")
    return meta_graph.signature_def[name]


def _ask(tf: Any, session: Any, signature: Any, inputs: dict[str, Any]) -> dict[str, Any]:
    feeds = {
        signature.inputs[name].name: _array(tf, signature.inputs[name], value)
        for name, value in inputs.items()
    }
    names = sorted(signature.outputs)
    values = session.run([signature.outputs[name].name for name in names], feeds)
    return {name: to_json(value) for name, value in zip(names, values, strict=True)}


def _array(tf: Any, info: Any, value: Any) -> np.ndarray:
    dtype = tf.as_dtype(info.dtype)
    return np.array(from_json(value), dtype=object if dtype == tf.string else dtype.as_numpy_dtype)


def _paragraph(error: Exception) -> str:
    text = " ".join(f"{type(error).__name__}: {error}".split())
    return text if len(text) <= _MOST_CHARACTERS else f"{text[:_MOST_CHARACTERS]}…"


if __name__ == "__main__":
    main(*sys.argv[1:])
