"""Can an export be served, where, and what is missing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from tfrec_llm.errors import CorruptFileError, TfrecLlmError
from tfrec_llm.progress import Progress, Silent
from tfrec_llm.serving.answer_difference import difference
from tfrec_llm.serving.answer_faults import answer_fault
from tfrec_llm.serving.examination import Examination, examine
from tfrec_llm.serving.native_probe import ask_probe, build_probe, reason_not_to_build
from tfrec_llm.serving.op_libraries import installed_version
from tfrec_llm.serving.op_verdicts import op_verdicts, sentence_on_ops, servers_with_ops
from tfrec_llm.serving.plain_tensors import Request
from tfrec_llm.serving.requirements_file import FileFaults, file_faults, read_requirements
from tfrec_llm.serving.sample_requests import padded, sample_requests, serialized_example
from tfrec_llm.serving.saved_graph import SavedGraph, read_saved_graph
from tfrec_llm.serving.signatures import ALL_SIGNATURES, SIGNATURES
from tfrec_llm.serving.versions import version_folder
from tfrec_llm.serving.warmup import MOST_RECORDS, WARMUP_FILE, read_warmup
from tfrec_llm.workflows.machine import processor

ITEMS_FILE = "assets.extra/items.parquet"
_NEEDED_TO_LOAD = ("saved_model.pb", "variables/", "assets/", ITEMS_FILE)
_DEFAULT_MAX_HISTORY = 50  # of exports that do not say theirs
_MOST_NAMES = 5
_EQUAL = (("serving_default", "serve_examples"), ("recommend", "recommend_timed"))


def check(
    export: str | Path, *, native: bool = False, progress: Progress | None = None
) -> dict[str, Any]:
    """Checks an export: files, ops, processor, versions, answers, warm-up.

    The export is loaded in a fresh process, through the loader that servers use, with only the op
    libraries that it needs. What it answers is judged by what every answer holds: shapes, finite
    scores in order, ids of the corpus alone, nothing of the history.

    Args:
        export: folder of versions, of which the newest is checked, or of one version.
        native: whether the export is loaded by a C++ program too, where one can be built.
        progress: listener.

    Returns: a dict of JSON values. `ok`: whether it can be deployed; `deployable`: on the
        `stock` server, on one built `with_scann`; `export`, the folder; `checks`: dicts of `name`,
        `ok` (None where it was left out) and `detail`; `facts`, `sizes` in bytes, and `ops`.

    Raises:
        UsageError: when there is no such export.
        CorruptFileError: when its requires.json cannot be read.
    """
    progress = progress or Silent()
    folder = version_folder(export)
    requires = read_requirements(folder)
    progress.message("comparing the files with their sha256")
    faults = file_faults(folder, requires)
    checks = [_files(faults, len(requires["sha256"])), _cpu_flags(requires), _versions(requires)]
    graph: SavedGraph | None = None
    verdicts: list[dict[str, Any]] = []
    facts: dict[str, Any] = {}
    try:
        _refuse_unless_loadable(faults)
        graph = read_saved_graph(folder)
        facts = _facts(folder, requires, graph)
    except TfrecLlmError as error:
        checks.append(_told("loads", False, str(error)))
    if graph is not None:
        progress.message("loading it in a fresh process as a server would, and asking it")
        more, verdicts = _loaded_checks(folder, requires, graph, facts, native, progress)
        checks += more
    fine = all(entry["ok"] is not False for entry in checks)
    has_ops = servers_with_ops(verdicts)
    deployable = {server: fine and has for server, has in has_ops.items()}
    return {
        "ok": any(deployable.values()),
        "deployable": deployable,
        "export": str(folder),
        "checks": checks,
        "facts": facts,
        "sizes": _sizes(folder),
        "ops": verdicts,
    }


def _loaded_checks(
    folder: Path,
    requires: Mapping[str, Any],
    graph: SavedGraph,
    facts: Mapping[str, Any],
    native: bool,
    progress: Progress,
) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Returns the checks that need the export loaded, and the verdicts on its ops."""
    items = pl.read_parquet(folder / ITEMS_FILE, columns=["item_id", "title"])
    item_ids, titles = items["item_id"].to_list(), items["title"].to_list()
    requests = _requests(item_ids, titles, graph, facts)
    warm_up, warm_up_fault = _warmup(folder)
    found = examine(folder, [*requests, *warm_up])
    verdicts = op_verdicts(graph.ops, _attributed(found, requires), requires["tensorflow"])
    checks = [
        _ops(verdicts, requires),
        _signatures(graph, facts),
        _told("loads", found.load_error is None, found.load_error or "by the loader of servers"),
    ]
    if found.load_error is not None:
        left_out = "left out, as the export does not load"
        return [
            *checks,
            *(_told(name, None, left_out) for name in ("answers", "warm_up")),
        ], verdicts
    corpus = {item_id.encode() for item_id in item_ids}
    checks.append(_answers(requests, found, corpus, facts))
    checks.append(_warm_up_check(warm_up, warm_up_fault, found.errors[len(requests) :], graph))
    if native:
        progress.message("loading it in a C++ program without Python")
        checks.append(_native(folder, verdicts, requests, found))
    return checks, verdicts


def _told(name: str, ok: bool | None, detail: str) -> dict[str, Any]:
    return {"name": name, "ok": ok, "detail": detail}


def _files(faults: FileFaults, number: int) -> dict[str, Any]:
    parts = [
        f"{what}: {_some(names)}"
        for what, names in (
            ("missing", faults.missing),
            ("changed or cut", faults.changed),
            ("not written with it, and left alone by servers", faults.extra),
        )
        if names
    ]
    is_whole = not faults.missing and not faults.changed
    parts.insert(0, f"all {number} files hold what was written" if is_whole else "not as written")
    return _told("files", is_whole, "; ".join(parts))


def _refuse_unless_loadable(faults: FileFaults) -> None:
    broken = [n for n in (*faults.missing, *faults.changed) if n.startswith(_NEEDED_TO_LOAD)]
    if broken:
        raise CorruptFileError(
            f"left out, as {_some(broken)} cannot be trusted. Copy the export again from where it "
            "came, or export the model again."
        )


def _cpu_flags(requires: Mapping[str, Any]) -> dict[str, Any]:
    needed, written_on = requires.get("cpu_flags", []), requires.get("machine", "")
    here = processor()
    if written_on != here["machine"]:
        return _told(
            "cpu_flags",
            True,
            f"the flags noted are those of {written_on or 'another machine'}; this is "
            f"{here['machine']}, whose TensorFlow needs those that it was built for",
        )
    missing = [flag for flag in needed if not here["flags"].get(flag)]
    if missing:
        return _told(
            "cpu_flags", False, f"needs {' '.join(needed)}; this machine lacks {' '.join(missing)}"
        )
    return _told("cpu_flags", True, f"needs {' '.join(needed) or 'none'}; this machine has them")


def _versions(requires: Mapping[str, Any]) -> dict[str, Any]:
    noted = {"tensorflow": requires["tensorflow"]}
    noted |= {entry["library"]: entry["version"] for entry in requires["custom_ops"]}
    parts, is_complete = [], True
    for library, version in noted.items():
        installed = installed_version(library)
        is_complete &= installed is not None
        if installed is None:
            parts.append(f"{library} {version} is needed and is not installed here")
        elif installed == version:
            parts.append(f"{library} {version}, installed too")
        else:
            parts.append(f"{library} {version}, checked here with {installed}")
    return _told("versions", is_complete, "; ".join(parts))


def _facts(folder: Path, requires: Mapping[str, Any], graph: SavedGraph) -> dict[str, Any]:
    """Returns what the export is; what its requires.json does not say is taken from its files."""
    try:
        num_items = pl.scan_parquet(folder / ITEMS_FILE).select(pl.len()).collect().item()
        (_, ranked), (_, embedded) = (
            graph.outputs["serving_default"]["item_ids"],
            graph.outputs["encode_users"]["embeddings"],
        )
        max_k, dimensions = ranked[-1], embedded[-1]
    except (OSError, pl.exceptions.PolarsError, KeyError, IndexError) as error:
        raise CorruptFileError(
            f"{folder} lacks a signature or the table of its items ({error}). Export again."
        ) from error
    has_scann = any(entry["library"] == "scann" for entry in requires["custom_ops"])
    index = requires.get("index") or {"kind": "scann" if has_scann else "brute_force"}
    return {
        "tensorflow": requires["tensorflow"],
        "items": num_items,
        "dimensions": dimensions or requires.get("dimensions"),
        "max_k": max_k,
        "max_history": requires.get("max_history"),
        "index": index,
        "index_recall@10": requires.get("index_recall@10"),
        "signatures": sorted(graph.inputs),
    }


def _sizes(folder: Path) -> dict[str, int]:
    sizes = {
        path.relative_to(folder).as_posix(): path.stat().st_size
        for path in folder.rglob("*")
        if path.is_file()
    }

    def total(*starts: str) -> int:
        return sum(size for name, size in sizes.items() if name.startswith(starts))

    return {
        "graph": total("saved_model.pb"),
        "variables": total("variables/"),
        "assets": total("assets/", "assets.extra/"),
        "total": sum(sizes.values()),
    }


def _requests(
    item_ids: Sequence[str], titles: Sequence[str], graph: SavedGraph, facts: Mapping[str, Any]
) -> list[Request]:
    """Returns sample requests to every signature, last the pairs whose answers must be equal."""
    history = list(item_ids[:2])
    histories = padded([[], history])
    users = {"user_text": [titles[0], ""], "history": histories}
    examples = [serialized_example(titles[0], []), serialized_example("", history)]
    samples = sample_requests(
        item_ids,
        titles,
        facts["max_k"],
        facts["max_history"] or _DEFAULT_MAX_HISTORY,
        has_ranker="rank" in graph.inputs,
        has_times="recommend_timed" in graph.inputs,
    )
    asked = [request for request in samples if request[0] in graph.inputs]
    pairs: list[Request] = [("serving_default", users), ("serve_examples", {"examples": examples})]
    if "recommend_timed" in graph.inputs:
        plain = {**users, "exclude_ids": [[""], [""]], "k": facts["max_k"]}
        unknown = {"history_times": [[0] * len(row) for row in histories]}
        pairs += [("recommend", plain), ("recommend_timed", {**plain, **unknown})]
    return [*asked, *pairs]


def _attributed(found: Examination, requires: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Returns the foreign ops; the library of one that is not installed is the one noted."""
    noted = {entry["op"]: entry for entry in requires["custom_ops"]}
    return [
        entry if entry["library"] is not None else noted.get(entry["op"], entry)
        for entry in found.custom_ops
    ]


def _ops(verdicts: Sequence[Mapping[str, Any]], requires: Mapping[str, Any]) -> dict[str, Any]:
    servers = servers_with_ops(verdicts)
    detail = sentence_on_ops(verdicts, requires["tensorflow"])
    if requires.get("stock_tensorflow_serving") != servers["stock"]:
        detail += (
            " Its requires.json says otherwise: it was changed, or written by an older tfrec_llm."
        )
    return _told("ops", any(servers.values()), detail)


def _signatures(graph: SavedGraph, facts: Mapping[str, Any]) -> dict[str, Any]:
    faults = [f"{name} is missing" for name in SIGNATURES if name not in graph.inputs]
    for name in graph.inputs:
        if name not in ALL_SIGNATURES:
            faults.append(f"{name} is none that tfrec_llm writes")
            continue
        promised = {
            key: (tensor.dtype, tensor.shape) for key, tensor in ALL_SIGNATURES[name].inputs.items()
        }
        if graph.inputs[name] != promised:
            faults.append(f"the inputs of {name} are not those of the contract")
        if set(graph.outputs[name]) != set(ALL_SIGNATURES[name].outputs):
            faults.append(f"the outputs of {name} are not those of the contract")
    return _told("signatures", not faults, "; ".join(faults) or ", ".join(graph.inputs))


def _answers(
    requests: Sequence[Request], found: Examination, corpus: set[bytes], facts: Mapping[str, Any]
) -> dict[str, Any]:
    is_exact = facts["index"].get("is_exact", facts["index"]["kind"] == "brute_force")
    for (name, inputs), answer, error in zip(requests, found.answers, found.errors, strict=False):
        if answer is None:
            return _told("answers", False, f"{name} fails: {error}")
        fault = answer_fault(
            name,
            inputs,
            answer,
            item_ids=corpus,
            max_k=facts["max_k"],
            dimensions=facts["dimensions"],
            is_exact=is_exact,
        )
        if fault:
            return _told("answers", False, f"an answer of {name} is wrong: {fault}")
    last = dict(zip((name for name, _ in requests), found.answers, strict=False))
    for first, second in _EQUAL:
        served, other = last.get(first), last.get(second)
        fault = difference(served, other) if served is not None and other is not None else None
        if fault:
            return _told("answers", False, f"{second} differs from {first}: {fault}")
    names = {name for name, _ in requests}
    return _told(
        "answers",
        True,
        f"{len(requests)} requests to {len(names)} signatures answered: finite scores in order, "
        "ids of the corpus alone, nothing of the history",
    )


def _warmup(folder: Path) -> tuple[list[Request], str | None]:
    """Returns the warm-up requests, and what is wrong with their file."""
    try:
        return read_warmup(folder), None
    except CorruptFileError as error:
        return [], str(error)


def _warm_up_check(
    requests: Sequence[Request],
    fault: str | None,
    errors: Sequence[str | None],
    graph: SavedGraph,
) -> dict[str, Any]:
    if fault:
        return _told("warm_up", False, fault)
    if len(requests) > MOST_RECORDS:
        return _told(
            "warm_up",
            False,
            f"{len(requests)} requests, but a server takes at most {MOST_RECORDS} and refuses to "
            "load a model with more",
        )
    for (name, inputs), error in zip(requests, errors, strict=True):
        if error:
            return _told("warm_up", False, f"a request to {name or 'no signature'} fails: {error}")
        if any(np.ndim(value) == 0 for value in inputs.values()):
            return _told(
                "warm_up",
                False,
                f"a request to {name} has an input without rows: a server that batches requests "
                "refuses to load the model",
            )
    batches = sorted({len(next(iter(inputs.values()))) for _, inputs in requests})
    signatures = sorted({name for name, _ in requests})
    if not requests:
        return _told("warm_up", False, f"{WARMUP_FILE} holds no request")
    cold = [name for name in graph.inputs if name not in signatures]
    return _told(
        "warm_up",
        True,
        f"{len(requests)} requests replayed, to {', '.join(signatures)}, of "
        f"{', '.join(map(str, batches))} rows" + (f"; none to {', '.join(cold)}" if cold else ""),
    )


def _native(
    folder: Path,
    verdicts: Sequence[Mapping[str, Any]],
    requests: Sequence[Request],
    found: Examination,
) -> dict[str, Any]:
    reason = reason_not_to_build()
    if reason:
        return _told("native", None, f"left out: {reason}")
    libraries = sorted({verdict["library"] for verdict in verdicts} - {"tensorflow", None})
    number = next(n for n, (name, _) in enumerate(requests) if name == "serving_default")
    inputs, answer = requests[number][1], found.answers[number]
    if answer is None:
        return _told("native", None, "left out, as serving_default does not answer")
    try:
        build_probe()
        for row, text in enumerate(inputs["user_text"]):
            ids = ask_probe(folder, libraries, text, inputs["history"][row])
            expected = [item_id.decode() for item_id in answer["item_ids"][row].tolist()]
            if ids != expected:
                return _told(
                    "native",
                    False,
                    f"the C++ program answers {_some(ids)} where Python answers {_some(expected)}",
                )
    except TfrecLlmError as error:
        return _told("native", False, str(error))
    number_of_users = len(inputs["user_text"])
    return _told("native", True, f"a C++ program gave {number_of_users} users the ids of Python")


def _some(names: Sequence[str]) -> str:
    shown = ", ".join(names[:_MOST_NAMES])
    return shown if len(names) <= _MOST_NAMES else f"{shown} and {len(names) - _MOST_NAMES} more"
