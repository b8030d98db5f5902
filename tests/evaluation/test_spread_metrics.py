"""Gini index and intra-list distance on numbers a person can check, and their laws."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tfrec_llm.evaluation.gini import gini_at_k
from tfrec_llm.evaluation.intra_list_distance import intra_list_distance_at_k

NOTHING = np.zeros((0, 3), np.int32)
LISTS = st.lists(st.lists(st.integers(-1, 5), min_size=3, max_size=3), min_size=1, max_size=6).map(
    np.array
)


def test_gini_worked_out_by_hand() -> None:
    """Shown 1, 2 and 3 times: differences 1 + 1 + 2, twice, over 2 · 3 items · 6 places."""
    lists = np.array([[0, 1], [2, 1], [2, -1], [2, -1]])
    assert gini_at_k(lists, 2, num_items=3) == pytest.approx(2 * (1 + 1 + 2) / (2 * 3 * 6))


def test_gini_counts_items_that_are_never_shown_and_ignores_places_after_k() -> None:
    assert gini_at_k(np.array([[0, 1], [0, 2]]), 1, num_items=10) == 0.9
    assert gini_at_k(np.array([[0, 1], [0, 1]]), 2, num_items=4) == 0.5


@given(st.integers(1, 30), st.integers(1, 5))
def test_gini_is_exactly_0_where_all_items_are_shown_equally_often(n: int, times: int) -> None:
    assert gini_at_k(np.tile(np.arange(n), (times, 1)), n, num_items=n) == 0.0


@given(LISTS, st.integers(1, 3), st.integers(6, 9))
def test_gini_is_the_mean_difference_and_stays_between_0_and_1(
    lists: np.ndarray, k: int, num_items: int
) -> None:
    shown = [int((lists[:, :k] == item).sum()) for item in range(num_items)]
    value = gini_at_k(lists, k, num_items)
    if not sum(shown):
        assert value is None
        return
    gaps = sum(abs(a - b) for a in shown for b in shown)
    assert value == pytest.approx(gaps / (2 * num_items * sum(shown)))
    assert 0.0 <= value < 1.0


def test_distance_worked_out_by_hand() -> None:
    """Pairs east-north 1, east-west 2, north-west 1; then one pair at 45 degrees."""
    vectors = np.array([[2.0, 0.0], [0.0, 1.0], [-3.0, 0.0], [1.0, 1.0]])
    first = intra_list_distance_at_k(np.array([[0, 1, 2]]), 3, vectors)
    assert first == pytest.approx(4 / 3)
    both = intra_list_distance_at_k(np.array([[0, 1, 2], [0, 3, -1]]), 3, vectors)
    assert both == pytest.approx((4 / 3 + 1 - math.sqrt(0.5)) / 2)


def test_lists_with_fewer_than_two_items_do_not_count() -> None:
    vectors = np.eye(3)
    assert intra_list_distance_at_k(np.array([[0, 1], [2, -1], [-1, -1]]), 2, vectors) == 1.0
    assert intra_list_distance_at_k(np.array([[0, 1]]), 1, vectors) is None
    assert intra_list_distance_at_k(NOTHING, 2, vectors) is None
    assert gini_at_k(NOTHING, 2, 3) is None
    assert gini_at_k(np.array([[-1]]), 1, 3) is None


@given(
    st.lists(st.floats(-100, 100).filter(lambda x: abs(x) > 1e-3), min_size=2, max_size=4),
    st.integers(2, 6),
)
def test_distance_is_0_for_one_repeated_vector(vector: list[float], n: int) -> None:
    value = intra_list_distance_at_k(np.arange(n)[None], n, np.tile(vector, (n, 1)))
    assert value == pytest.approx(0.0, abs=1e-12)


@given(LISTS, st.integers(2, 3), st.integers(0, 50))
def test_distance_is_the_mean_over_pairs_and_stays_between_0_and_2(
    lists: np.ndarray, k: int, seed: int
) -> None:
    vectors = np.random.default_rng(seed).integers(-2, 3, (6, 2)).astype(np.float32)
    means = []
    for row in lists[:, :k]:
        pairs = list(itertools.combinations([i for i in row if i >= 0], 2))
        if pairs:
            means.append(np.mean([_distance(vectors[a], vectors[b]) for a, b in pairs]))
    value = intra_list_distance_at_k(lists, k, vectors)
    if not means:
        assert value is None
        return
    assert value == pytest.approx(np.mean(means), abs=1e-9)
    assert 0.0 <= value <= 2.0


def _distance(a: np.ndarray, b: np.ndarray) -> float:
    sizes = math.sqrt(float(a @ a)) * math.sqrt(float(b @ b))
    return 1.0 - float(a @ b) / sizes if sizes else 1.0


def test_many_lists_are_measured_in_blocks_alike() -> None:
    generator = np.random.default_rng(0)
    vectors = generator.normal(size=(30, 4))
    lists = np.array([generator.permutation(30)[:5] for _ in range(600)])
    alone = [intra_list_distance_at_k(row[None], 5, vectors) for row in lists]
    assert intra_list_distance_at_k(lists, 5, vectors) == pytest.approx(np.mean(alone))
