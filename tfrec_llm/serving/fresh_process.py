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


def main(version_folder: str, requests_file: str, answers_file: str) -> None:
    """Writes `{"custom_ops": […], "answers": […]}`.

    Args:
        version_folder: folder of the SavedModel.
        requests_file: JSON list of `[signature, {input: value}]`, see `plain_tensors`.
        answers_file: written; one answer `{output: value}` for each request, in order.
    """
    os.environ["TF_USE_LEGACY_KERAS"] = "1"
    import tensorflow as tf

    custom_ops = _custom_ops(tf, Path(version_folder) / "saved_model.pb")
    requests = json.loads(Path(requests_file).read_text())
    with tf.compat.v1.Session(graph=tf.Graph()) as session:
        meta_graph = tf.compat.v1.saved_model.loader.load(session, ["serve"], version_folder)
        answers = [
            _ask(tf, session, meta_graph.signature_def[name], inputs) for name, inputs in requests
        ]
    Path(answers_file).write_text(json.dumps({"custom_ops": custom_ops, "answers": answers}))


def _custom_ops(tf: Any, saved_model: Path) -> list[dict[str, str | None]]:
    """Returns each op of the graph that TensorFlow lacks, with the library that registers it."""
    from tensorflow.core.protobuf.saved_model_pb2 import SavedModel
    from tensorflow.python.framework import op_def_registry

    model = SavedModel.FromString(saved_model.read_bytes())
    ops: set[str] = set()
    for meta_graph in model.meta_graphs:
        functions = meta_graph.graph_def.library.function
        own = {function.signature.name for function in functions}
        nodes = [*meta_graph.graph_def.node, *(n for f in functions for n in f.node_def)]
        ops |= {node.op for node in nodes} - own
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


if __name__ == "__main__":
    main(*sys.argv[1:])
