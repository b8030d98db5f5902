"""What stands in the file of a SavedModel's graph, read without loading it."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tfrec_llm.errors import CorruptFileError

GRAPH_FILE = "saved_model.pb"


@dataclass(frozen=True)
class SavedGraph:
    """Ops and signatures of a graph.

    Attributes:
        ops: int by name of an op, in how many nodes of the graph and its functions it stands.
        inputs: by signature and name, the dtype as TensorFlow spells it and the shape, with None
            for any size.
        outputs: the same of the answers.
    """

    ops: dict[str, int]
    inputs: dict[str, dict[str, tuple[str, tuple[int | None, ...]]]]
    outputs: dict[str, dict[str, tuple[str, tuple[int | None, ...]]]]


def read_saved_graph(version_folder: Path) -> SavedGraph:
    """Reads the graph that servers load, the one tagged `serve`.

    Args:
        version_folder: folder of a SavedModel.

    Raises: CorruptFileError when the file is missing, is no SavedModel, or has no such graph.
    """
    from google.protobuf.message import DecodeError
    from tensorflow.core.protobuf.saved_model_pb2 import SavedModel

    path = version_folder / GRAPH_FILE
    try:
        graphs = SavedModel.FromString(path.read_bytes()).meta_graphs
    except (DecodeError, FileNotFoundError) as error:
        raise CorruptFileError(
            f"{path} is missing or is no SavedModel ({error}). Copy the export again from where it "
            "came, or export the model again."
        ) from error
    served = [graph for graph in graphs if "serve" in graph.meta_info_def.tags]
    if not served:
        raise CorruptFileError(f"{path} holds no graph with the tag `serve`. Export again.")
    signatures = {
        name: signature
        for name, signature in sorted(served[0].signature_def.items())
        if not name.startswith("__")  # TensorFlow's own, such as the one that restores variables
    }
    return SavedGraph(
        _count_ops(served[0]),
        {name: _tensors(signature.inputs) for name, signature in signatures.items()},
        {name: _tensors(signature.outputs) for name, signature in signatures.items()},
    )


def _count_ops(meta_graph: Any) -> dict[str, int]:
    functions = meta_graph.graph_def.library.function
    own = {function.signature.name for function in functions}
    nodes = [*meta_graph.graph_def.node, *(n for f in functions for n in f.node_def)]
    return dict(sorted(Counter(node.op for node in nodes if node.op not in own).items()))


def _tensors(infos: Any) -> dict[str, tuple[str, tuple[int | None, ...]]]:
    from tensorflow.python.framework.dtypes import as_dtype

    return {
        name: (
            as_dtype(info.dtype).name,
            tuple(None if dim.size < 0 else dim.size for dim in info.tensor_shape.dim),
        )
        for name, info in sorted(infos.items())
    }
