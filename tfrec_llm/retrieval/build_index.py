"""The kinds of index by name, and which of them suits a corpus and a server."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from tfrec_llm.errors import UsageError
from tfrec_llm.retrieval.brute_force_index import BruteForceIndex
from tfrec_llm.retrieval.ivf_index import IvfIndex
from tfrec_llm.retrieval.scann_index import ScannIndex
from tfrec_llm.retrieval.top_k_index import TopKIndex

KINDS = (ScannIndex.kind, IvfIndex.kind, BruteForceIndex.kind)
SERVERS = ("stock", "scann")

_EXACT_UP_TO = 50_000  # items × 64 dimensions: a few milliseconds a request on one core


def choose_kind(num_items: int, serve_on: str = "stock") -> tuple[str, str]:
    """Chooses a kind of index by the size of the corpus and by where it will be served.

    Args:
        num_items: int >= 1, size of the corpus.
        serve_on: `stock` for TensorFlow Serving as it is published, which has none of ScaNN's ops;
            `scann` for a server that was built with them.

    Returns: the kind, and why, as a sentence.

    Raises: UsageError when there is no such server.

    Example:
        >>> choose_kind(1_000)[0], choose_kind(10**6)[0], choose_kind(10**6, "scann")[0]
        ('brute_force', 'ivf', 'scann')
    """
    if serve_on not in SERVERS:
        raise UsageError(f"`serve_on` must be one of {', '.join(SERVERS)}, got {serve_on!r}.")
    if num_items <= _EXACT_UP_TO:
        return BruteForceIndex.kind, (
            f"{num_items} items are compared one by one within milliseconds, exactly, on any server"
        )
    if serve_on == "scann":
        return ScannIndex.kind, f"{num_items} items, and the server has ScaNN's ops"
    return IvfIndex.kind, (
        f"{num_items} items are many to compare one by one, and stock TensorFlow Serving cannot "
        "load ScaNN's ops"
    )


def build_index(
    kind: str,
    embeddings: np.ndarray,
    options: Mapping[str, Any] | None = None,
    sample_queries: np.ndarray | None = None,
) -> TopKIndex:
    """Builds an index of some kind.

    Args:
        kind: one of `KINDS`.
        embeddings: float `(num_items, dim)`, one row a candidate, finite.
        options: arguments of that kind of index; None stands for its own choice.
        sample_queries: float `(num_queries, dim)`, for a kind that is tuned by queries.

    Returns: the index.

    Raises:
        UsageError: when there is no such kind, or an option does not fit the corpus.
        MissingPackageError: when a package that the kind needs is not installed.

    Example:
        >>> build_index("brute_force", np.eye(3, dtype=np.float32)).num_items
        3
    """
    given: dict[str, Any] = {k: v for k, v in (options or {}).items() if v is not None}
    if kind == ScannIndex.kind:
        return ScannIndex(embeddings, **given)
    if kind == IvfIndex.kind:
        return IvfIndex(embeddings, sample_queries=sample_queries, **given)
    if kind == BruteForceIndex.kind:
        return BruteForceIndex(embeddings, **given)
    raise UsageError(f"There is no index of the kind {kind!r}. Use one of {', '.join(KINDS)}.")
