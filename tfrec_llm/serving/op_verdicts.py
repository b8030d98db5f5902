"""Which servers have the ops of an export."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from tfrec_llm.serving.stock_serving_ops import (
    is_in_stock_serving,
    is_known_release,
    serving_release,
)


def op_verdicts(
    counts: Mapping[str, int], custom_ops: Iterable[Mapping[str, Any]], tensorflow_version: str
) -> list[dict[str, Any]]:
    """Says of every op of a graph which library registers it, and whether stock servers have it.

    Args:
        counts: int by name of an op, in how many nodes it stands.
        custom_ops: the ops that TensorFlow does not have, as dicts of `op`, `library`, `version`.
        tensorflow_version: version of the TensorFlow that wrote the graph.

    Returns: dicts of `op`, `nodes`, `library` (None for unknown), `version` and `stock`.

    Example:
        >>> mystery = {"op": "Mystery", "library": None, "version": None}
        >>> [v["stock"] for v in op_verdicts({"Add": 2, "Mystery": 1}, [mystery], "2.20.0")]
        [True, False]
    """
    foreign = {entry["op"]: entry for entry in custom_ops}
    verdicts = []
    for op, nodes in sorted(counts.items()):
        entry = foreign.get(op, {"library": "tensorflow", "version": tensorflow_version})
        stock = op not in foreign or (
            entry["library"] is not None and is_in_stock_serving(op, tensorflow_version)
        )
        verdicts.append(
            {
                "op": op,
                "nodes": nodes,
                "library": entry["library"],
                "version": entry["version"],
                "stock": stock,
            }
        )
    return verdicts


def servers_with_ops(verdicts: Sequence[Mapping[str, Any]]) -> dict[str, bool]:
    """Returns whether the `stock` server, and one built `with_scann`, has every op.

    Args:
        verdicts: as `op_verdicts` returns them.

    Example:
        >>> servers_with_ops([{"op": "Scann>ScannSearch", "library": "scann", "stock": False}])
        {'stock': False, 'with_scann': True}
    """
    return {
        "stock": all(verdict["stock"] for verdict in verdicts),
        "with_scann": all(
            verdict["stock"] or verdict["library"] == "scann" for verdict in verdicts
        ),
    }


def sentence_on_ops(verdicts: Sequence[Mapping[str, Any]], tensorflow_version: str) -> str:
    """Sums the verdicts up for a person.

    Args:
        verdicts: as `op_verdicts` returns them.
        tensorflow_version: version of the TensorFlow that wrote the graph.
    """
    release = f"TensorFlow Serving {serving_release(tensorflow_version)}"
    libraries: dict[str, list[str]] = {}
    for verdict in verdicts:
        libraries.setdefault(verdict["library"] or "no known library", []).append(verdict["op"])
    parts = [
        f"{len(ops)} of {library}" + ("" if library == "tensorflow" else f" ({', '.join(ops)})")
        for library, ops in sorted(libraries.items(), key=lambda part: part[0] != "tensorflow")
    ]
    sentence = f"{len(verdicts)} kinds of op: {', '.join(parts)}. "
    lacking = [verdict["op"] for verdict in verdicts if not verdict["stock"]]
    if not lacking:
        return f"{sentence}Stock {release} has all of them."
    if not is_known_release(tensorflow_version):
        return f"{sentence}Which of them {release} has is not known to this version of tfrec_llm."
    where = "Serve it with a server built with ScaNN's ops, or export with --index auto."
    if not servers_with_ops(verdicts)["with_scann"]:
        where = "No server that is built from known libraries has them all."
    return f"{sentence}Stock {release} lacks {', '.join(lacking)}. {where}"
