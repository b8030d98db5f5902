"""Tests of how much items are found to say for each other."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tfrec_llm.neighbours import item_regression
from tfrec_llm.neighbours.item_regression import AHEAD, ItemRegression

NUM_ITEMS = 6
histories_of_users = st.lists(
    st.lists(st.integers(0, NUM_ITEMS - 1), unique=True, max_size=5).map(
        lambda items: np.array(items, dtype=np.int32)
    ),
    min_size=1,
    max_size=12,
)


def steps_by_loop(histories: list[np.ndarray], decay: float) -> tuple[np.ndarray, np.ndarray]:
    """One case for each point of a history that something comes after."""
    known, came = [], []
    for history in histories:
        for now in range(len(history) - 1):
            before, after = np.zeros(NUM_ITEMS), np.zeros(NUM_ITEMS)
            for age in range(now + 1):
                before[history[now - age]] += decay**age
            for gap, item in enumerate(history[now + 1 :]):
                after[item] += AHEAD**gap
            known.append(before / before.sum())
            came.append(after)
    return np.array(known).reshape(-1, NUM_ITEMS), np.array(came).reshape(-1, NUM_ITEMS)


def sets_by_loop(histories: list[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    taken = np.zeros((len(histories), NUM_ITEMS))
    for row, history in enumerate(histories):
        taken[row, history] = 1.0
    return taken, taken


@settings(max_examples=60)
@given(histories_of_users, st.sampled_from([0.5, 0.8, 1.0]), st.sampled_from([0.5, 10.0]))
def test_it_is_ridge_regression_on_all_other_items(
    histories: list[np.ndarray], decay: float, regularisation: float
) -> None:
    inputs, targets = sets_by_loop(histories) if decay == 1.0 else steps_by_loop(histories, decay)
    wanted = np.zeros((NUM_ITEMS, NUM_ITEMS))
    for item in range(NUM_ITEMS):
        # Only what ever went with the item is an input; the others say nothing of it.
        goes_with = np.flatnonzero(inputs.T @ targets[:, item])
        rows = goes_with[goes_with != item]
        x = inputs[:, rows]
        gram = x.T @ x + regularisation * np.eye(len(rows))
        wanted[rows, item] = np.linalg.solve(gram, x.T @ targets[:, item])
    regression = ItemRegression(histories, NUM_ITEMS, decay=decay, num_neighbours=NUM_ITEMS)
    found = regression.weights(regularisation).toarray()
    np.testing.assert_allclose(found, np.maximum(wanted, 0.0), atol=1e-4)


def test_what_two_items_say_alike_is_shared_between_them() -> None:
    together = [np.array([0, 1, 2])] * 20
    alone = ItemRegression([np.array([0, 2])] * 20, 3, decay=1.0, num_neighbours=9).weights(1.0)
    both = ItemRegression(together, 3, decay=1.0, num_neighbours=9).weights(1.0)
    assert both[0, 2] == pytest.approx(both[1, 2])
    assert both[0, 2] < 0.6 * alone[0, 2]


def test_order_counts_where_histories_fade_and_not_where_they_are_sets() -> None:
    taken = [np.array([0, 1])] * 3
    in_order = ItemRegression(taken, 2, decay=0.5, num_neighbours=2).weights(1.0).toarray()
    as_sets = ItemRegression(taken, 2, decay=1.0, num_neighbours=2).weights(1.0).toarray()
    assert in_order[0, 1] > 0.0 == in_order[1, 0]
    assert as_sets[0, 1] == as_sets[1, 0] > 0.0


def test_neither_inputs_nor_entries_are_more_than_wanted() -> None:
    draw = np.random.default_rng(1)
    taken = [draw.permutation(30)[:12] for _ in range(60)]
    for decay in (0.7, 1.0):
        weights = ItemRegression(taken, 30, decay=decay, num_neighbours=4).weights(5.0)
        assert np.diff(weights.indptr).max() <= 4 and np.diff(weights.tocsc().indptr).max() <= 4
        assert weights.nnz and weights.data.min() > 0.0 and not weights.diagonal().any()


def test_too_many_cases_are_drawn_from(monkeypatch: pytest.MonkeyPatch) -> None:
    taken = [np.array([0, 1])] * 400
    whole = ItemRegression(taken, 2, decay=1.0, num_neighbours=1).weights(1e-3).toarray()
    monkeypatch.setattr(item_regression, "_MOST_PAIRS", 400)
    drawn = ItemRegression(taken, 2, decay=1.0, num_neighbours=1)
    assert 50 < drawn._gram[0, 0] < 150  # a quarter of the cases
    np.testing.assert_allclose(drawn.weights(1e-3).toarray(), whole, atol=1e-3)


@pytest.mark.parametrize("histories", [[], [np.array([], np.int32)], [np.array([2])]])
@pytest.mark.parametrize("decay", [0.5, 1.0])
def test_without_two_items_in_a_history_nothing_is_said(
    histories: list[np.ndarray], decay: float
) -> None:
    weights = ItemRegression(histories, 3, decay=decay, num_neighbours=2).weights(1.0)
    assert weights.shape == (3, 3) and weights.nnz == 0


@pytest.mark.parametrize("decay", [0.0, 1.5])
def test_a_decay_that_cannot_be_is_refused(decay: float) -> None:
    with pytest.raises(ValueError, match=r"must lie in \(0, 1\]"):
        ItemRegression([], 3, decay=decay, num_neighbours=2)
