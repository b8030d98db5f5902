"""Servable → one more version of an export, by one rename."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from tfrec_llm.errors import ExportError
from tfrec_llm.files import atomic_folder, locked
from tfrec_llm.keras_api import tf
from tfrec_llm.retrieval.index_recall import index_recall
from tfrec_llm.seeds import child_generator
from tfrec_llm.serving.export_check import check_export
from tfrec_llm.serving.export_files import EMBEDDINGS_FILE, ITEMS_FILE, QUERIES_FILE
from tfrec_llm.serving.model_card import model_card
from tfrec_llm.serving.plain_tensors import Request
from tfrec_llm.serving.refresh_facts import RefreshFacts
from tfrec_llm.serving.requirements_file import REQUIRES_FILE, requirements
from tfrec_llm.serving.sample_requests import sample_requests
from tfrec_llm.serving.servable import Servable
from tfrec_llm.serving.versions import next_version, remove_leftovers
from tfrec_llm.serving.warmup import serving_api, write_warmup
from tfrec_llm.serving.warmup_requests import warmup_requests

_NAMESPACES = ["Scann", "TFText"]
_RECALL_QUERIES = 256


def write_export(
    servable: Servable,
    out: str | Path,
    *,
    metadata: Mapping[str, Any] | None = None,
    recall_queries: np.ndarray | None = None,
    min_index_recall: float = 0.5,
    for_refresh: Mapping[str, Any] | None = None,
    after_version: int | None = None,
) -> Path:
    """Writes the next version of an export, starting with 1.

    The version is written beside its place, loaded in a fresh process as a server would, asked,
    and compared with `servable`; it appears by one rename, or not at all. Other versions are not
    touched, and two exports at a time wait for each other.

    Args:
        servable: what to save.
        out: the folder of versions; made if missing.
        metadata: what else the model card shall say; a mapping becomes a section. JSON values.
        recall_queries: float32 `(num_queries, D)`, user embeddings with which an approximate
            index is compared with the exact one. Defaults to a sample of the items.
        min_index_recall: float in [0, 1], the recall@10 that an approximate index must reach.
        for_refresh: attributes of `RefreshFacts` that the servable does not know: `item_id`,
            `item_text`, `neighbours`, and `metadata` where it is other than that of the card.
        after_version: int, the version that must be the newest one; None takes any.

    Returns: folder of the new version.

    Raises:
        MissingPackageError: when tensorflow-serving-api is not installed.
        ExportError: when the files cannot be written, the index finds too little, or the saved
            model does not answer as `servable` does; or when a version newer than `after_version`
            came meanwhile.
    """
    serving_api()  # asked for first: before anything long is done
    out = Path(out)
    recall = _checked_recall(servable, recall_queries, min_index_recall)
    item_ids = [item_id.decode() for item_id in servable.item_ids.all_ids.numpy().tolist()]
    requests = sample_requests(
        item_ids,
        servable.titles,
        servable.max_k,
        servable.max_history,
        has_ranker=servable.reranking is not None,
        has_times=servable.time_gaps,
    )
    warm = warmup_requests(
        item_ids,
        servable.titles,
        servable.max_history,
        has_ranker=servable.reranking is not None,
    )
    facts = {
        **_sizes(servable),
        "index recall@10": recall,
        "tensorflow": tf.__version__,
    }
    if servable.neighbours is not None:
        facts["neighbours of an item, at most"] = servable.neighbours.width
    if servable.reranking is not None:
        facts["ranker"] = servable.reranking.facts
    try:
        with locked(out / ".lock"):
            remove_leftovers(out)
            version = out / str(next_version(out))
            _check_newest(version, after_version)
            with atomic_folder(version) as folder:
                _save(servable, folder)
                _write_items(servable, item_ids, folder)
                _facts(servable, min_index_recall, metadata, for_refresh).write(folder)
                if recall_queries is not None:
                    _write_array(folder / QUERIES_FILE, recall_queries[:_RECALL_QUERIES])
                write_warmup(folder, [*requests, *warm])
                (folder / "model_card.md").write_text(
                    model_card(facts, metadata or {}, servable.signature_table), encoding="utf-8"
                )
                _check_and_note(servable, folder, requests, recall)
    except (OSError, tf.errors.OpError, pl.exceptions.PolarsError) as error:
        raise ExportError(
            f"The export could not be written to {out}: {_reason(error)}. Nothing was changed "
            "there, and other versions are as they were. Free some space, or choose another folder."
        ) from error
    return version


def _save(servable: Servable, folder: Path) -> None:
    options = tf.saved_model.SaveOptions(namespace_whitelist=_NAMESPACES)
    try:
        tf.saved_model.save(
            servable, str(folder), signatures=servable.signatures(), options=options
        )
    except AssertionError as error:  # what TensorFlow says of a resource that it cannot save
        raise ExportError(
            "The graph reads a variable or a lookup table that is not part of what is saved: "
            f"{' '.join(str(error).split())[:500]} Let the encoder or the model list it."
        ) from error


def _sizes(servable: Servable) -> dict[str, Any]:
    """Returns what the model card and requires.json both say of a servable."""
    return {
        "items": servable.num_items,
        "dimensions": int(servable.embeddings.shape[1]),
        "max_k": servable.max_k,
        "max_history": servable.max_history,
        "index": servable.index.parameters,
    }


def _write_items(servable: Servable, item_ids: Sequence[str], folder: Path) -> None:
    """Writes what an answer in a terminal, and a later refresh, need beside the graph."""
    texts = servable.texts if servable.texts is not None else [None] * len(item_ids)
    (folder / "assets.extra").mkdir(exist_ok=True)
    pl.DataFrame(
        {
            "item_id": item_ids,
            "title": servable.titles,
            "text": texts,
            "popularity": servable.popularity.numpy(),
            "model_number": servable.model_numbers.numpy(),
        },
        schema_overrides={"item_id": pl.String, "title": pl.String, "text": pl.String},
    ).write_parquet(folder / ITEMS_FILE)
    _write_array(folder / EMBEDDINGS_FILE, servable.embeddings.numpy())


def _write_array(path: Path, array: np.ndarray) -> None:
    np.save(path, np.asarray(array, np.float32), allow_pickle=False)


def _facts(
    servable: Servable,
    min_index_recall: float,
    metadata: Mapping[str, Any] | None,
    for_refresh: Mapping[str, Any] | None,
) -> RefreshFacts:
    reranking, neighbours = servable.reranking, servable.neighbours
    ranker = ("num_candidates", "retriever_weight", "max_history", "history_gain")
    known: dict[str, Any] = {
        "max_k": servable.max_k,
        "max_history": servable.max_history,
        "index": {"kind": servable.index.kind, "options": servable.index.options},
        "min_index_recall": min_index_recall,
        "neighbour_decay": 1.0 if neighbours is None else neighbours.decay,
        "ranker": None if reranking is None else {n: getattr(reranking, n) for n in ranker},
        "metadata": dict(metadata or {}),
    }
    return RefreshFacts(**{**known, **(for_refresh or {})})


def _check_newest(version: Path, after_version: int | None) -> None:
    if after_version is not None and int(version.name) != after_version + 1:
        raise ExportError(
            f"{version.parent} has got the version {int(version.name) - 1} while this one was made "
            f"from {after_version}. Nothing was written, so that the newer one stays the newest. "
            "Run the same again, now from that one."
        )


def _check_and_note(
    servable: Servable, folder: Path, requests: Sequence[Request], recall: float
) -> None:
    custom_ops = check_export(folder, servable, requests)
    unknown = [entry["op"] for entry in custom_ops if entry["library"] is None]
    if unknown:
        raise ExportError(
            f"The graph has ops of no library that tfrec_llm knows: {', '.join(unknown)}. No "
            "server could load it. Build the encoder from TensorFlow and tensorflow-text ops."
        )
    noted = {
        **requirements(folder, tf.__version__, custom_ops),
        **_sizes(servable),
        "index_recall@10": recall,
        "signatures": sorted(servable.signature_table),
    }
    (folder / REQUIRES_FILE).write_text(
        json.dumps(noted, indent=1, ensure_ascii=False) + "\n", encoding="utf-8"
    )


def _checked_recall(
    servable: Servable, queries: np.ndarray | None, min_index_recall: float
) -> float:
    index = servable.index
    if index.is_exact:
        return 1.0
    if queries is None:
        draw = child_generator(7, "index recall")
        rows = draw.permutation(index.num_items)[:_RECALL_QUERIES]
        queries = index.embeddings.numpy()[rows]
    recall = index_recall(index, queries[:_RECALL_QUERIES], k=10)
    if recall < min_index_recall:
        raise ExportError(
            f"The {index.kind} index finds {recall:.0%} of the exact ten best, less than the "
            f"{min_index_recall:.0%} asked for. Search more leaves, score more candidates again, "
            "or use the brute_force index."
        )
    return recall


def _reason(error: Exception) -> str:
    text = re.sub(r"\{\{.*?\}\}|\[Op:.*?\]", "", str(error))  # TensorFlow's names of its own parts
    return " ".join((text or type(error).__name__).split())[:400]
