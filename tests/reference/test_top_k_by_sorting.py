"""Top-k against a plain sort of (score, place in the tie order)."""

from __future__ import annotations

import math

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from tfrec_llm.evaluation.top_k import top_k


def sorted_list(scores: list[float], k: int, order: list[int]) -> list[int]:
    place = {item: n for n, item in enumerate(order)}
    allowed = [item for item in order if scores[item] != -math.inf]
    best = sorted(allowed, key=lambda item: (-scores[item], place[item]))[:k]
    return best + [-1] * (k - len(best))


@settings(max_examples=300)
@given(st.data())
def test_top_k_equals_a_full_sort(data: st.DataObject) -> None:
    num_items = data.draw(st.integers(1, 12))
    value = st.sampled_from([-math.inf, -1.5, 0.0, 0.25, 0.5, 3.0, 1e30])
    row = st.lists(value, min_size=num_items, max_size=num_items)
    rows = data.draw(st.lists(row, min_size=1, max_size=4))
    order = data.draw(st.permutations(range(num_items)))
    order = order[: data.draw(st.integers(1, num_items))]
    k = data.draw(st.integers(1, 15))
    found = top_k(np.array(rows, dtype=np.float32), k, np.array(order))
    assert found.tolist() == [sorted_list(scores, k, order) for scores in rows]


def test_top_k_equals_a_full_sort_on_a_wide_corpus_full_of_ties() -> None:
    generator = np.random.default_rng(3)
    scores = np.round(generator.standard_normal((20, 3000)), 1).astype(np.float32)
    scores[:, ::7] = -np.inf
    scores[0] = 1.0
    order = generator.permutation(3000)
    wanted = [sorted_list(row.tolist(), 100, order.tolist()) for row in scores]
    assert top_k(scores, 100, order).tolist() == wanted
