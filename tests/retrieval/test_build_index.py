"""Tests of the kinds of index by name."""

from __future__ import annotations

import numpy as np
import pytest

from tfrec_llm.errors import UsageError
from tfrec_llm.retrieval.build_index import KINDS, build_index, choose_kind


@pytest.mark.parametrize("kind", KINDS)
def test_each_kind_is_built_by_its_name(kind: str) -> None:
    index = build_index(kind, np.eye(5, dtype=np.float32), {}, np.eye(5, dtype=np.float32))
    assert index.kind == kind and index.num_items == 5


def test_options_reach_the_index_and_none_leaves_the_choice_to_it() -> None:
    rows = np.random.default_rng(0).normal(size=(50, 4)).astype(np.float32)
    index = build_index("ivf", rows, {"num_lists": 5, "num_lists_to_search": None})
    assert index.parameters["num_lists"] == 5


def test_another_kind_is_refused_with_those_there_are() -> None:
    with pytest.raises(UsageError, match="no index of the kind 'tree'. Use one of scann, ivf"):
        build_index("tree", np.eye(2, dtype=np.float32))


@pytest.mark.parametrize(
    ("num_items", "server", "kind"),
    [
        (50_000, "stock", "brute_force"),
        (50_000, "scann", "brute_force"),
        (50_001, "stock", "ivf"),
        (50_001, "scann", "scann"),
    ],
)
def test_size_and_server_choose_the_kind(num_items: int, server: str, kind: str) -> None:
    chosen, reason = choose_kind(num_items, server)
    assert chosen == kind and str(num_items) in reason


def test_another_server_is_refused() -> None:
    with pytest.raises(UsageError, match="`serve_on` must be one of stock, scann, got 'gpu'"):
        choose_kind(5, "gpu")
