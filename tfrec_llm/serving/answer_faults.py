"""What is wrong with an answer, judged by what every answer of every export holds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet
from typing import Any

import numpy as np

from tfrec_llm.serving.plain_tensors import from_json, to_json
from tfrec_llm.serving.signatures import ALL_SIGNATURES

_FULL = ("serving_default", "recommend", "recommend_timed", "similar_items")
_LOWEST = float(np.finfo(np.float32).min)  # the score of a place that no item is left for


def answer_fault(
    name: str,
    inputs: Mapping[str, Any],
    answer: Mapping[str, np.ndarray],
    *,
    item_ids: AbstractSet[bytes],
    max_k: int,
    dimensions: int,
    is_exact: bool = False,
) -> str | None:
    """Finds what cannot be right in an answer, without knowing the right one.

    Args:
        name: the signature that was asked.
        inputs: nested lists by input name.
        answer: arrays by output name.
        item_ids: every id of the corpus.
        max_k: the most items of an answer.
        dimensions: width of an embedding.
        is_exact: whether the index finds every item, so that no place may stay empty while an
            item is left for it.

    Returns: the first fault as part of a sentence, or None.

    Example:
        >>> ask = {"item_ids": ["a"], "k": 1}
        >>> answer = {"item_ids": np.array([[b"a"]], object), "scores": np.ones((1, 1), np.float32)}
        >>> answer_fault("similar_items", ask, answer, item_ids={b"a"}, max_k=9, dimensions=2)
        "row 0 holds b'a', which was to be left out"
    """
    lists = {key: from_json(to_json(value)) for key, value in inputs.items()}
    if set(answer) != set(ALL_SIGNATURES[name].outputs):
        return f"the outputs are {', '.join(sorted(answer))}"
    rows = len(next(iter(lists.values())))
    shape: tuple[int, ...] = (rows, min(lists.get("k", max_k), max_k))
    if name in ("encode_users", "encode_items"):
        shape = (rows, dimensions)
    elif name == "rank":
        shape = (rows, len(lists["item_ids"][0]))
    for key, value in answer.items():
        if value.shape != shape:
            return f"{key} has the shape {value.shape} instead of {shape}"
        if key != "item_ids" and not np.isfinite(value.astype(np.float64)).all():
            return f"{key} holds NaN or infinity"
    if "item_ids" not in answer:
        return None
    is_full = is_exact and name in _FULL
    for row in range(rows):
        left_out = {*_row(lists, "history", row), *_row(lists, "exclude_ids", row)}
        if name == "similar_items":
            left_out = {lists["item_ids"][row]}
            if not left_out & item_ids:  # nothing is like an item that there is not
                left_out |= item_ids
        ranked, scores = answer["item_ids"][row].tolist(), answer["scores"][row]
        fault = _ranking_fault(ranked, scores, left_out, item_ids, is_full)
        if fault:
            return f"row {row} {fault}"
    return None


def _ranking_fault(
    ranked: list[bytes],
    scores: np.ndarray,
    left_out: set[bytes],
    item_ids: AbstractSet[bytes],
    is_full: bool,
) -> str | None:
    found = [item_id for item_id in ranked if item_id]
    for item_id in found:
        if item_id not in item_ids:
            return f"holds {item_id!r}, which is no item"
        if item_id in left_out:
            return f"holds {item_id!r}, which was to be left out"
    if len(set(found)) < len(found):
        return "holds an item twice"
    if any(ranked[len(found) :]):
        return "has an empty place before an item"
    if (scores[len(found) :] != _LOWEST).any():
        return "scores an empty place above the lowest number"
    if (np.diff(scores) > 0).any():
        return "is not in the order of its scores"
    if is_full and len(found) < min(len(ranked), len(item_ids - left_out)):
        return f"holds {len(found)} items though {len(item_ids - left_out)} are left"
    return None


def _row(lists: Mapping[str, Any], name: str, row: int) -> Sequence[bytes]:
    return lists[name][row] if name in lists else ()
