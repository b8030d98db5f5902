"""Tests of how late items stand."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from tfrec_llm.prior.lateness import lateness

histories = st.lists(
    st.lists(st.integers(0, 7), max_size=6).map(lambda items: np.array(items, np.int32)),
    max_size=12,
)


@given(histories)
def test_it_is_the_least_squares_solution(taken: list[np.ndarray]) -> None:
    steps = [(a, b) for history in taken for a, b in zip(history[:-1], history[1:], strict=True)]
    rows = np.zeros((len(steps) + 8, 8))
    wanted = np.concatenate([np.ones(len(steps)), np.zeros(8)])
    for row, (before, after) in enumerate(steps):
        rows[row, after] += 1.0
        rows[row, before] -= 1.0
        wanted[row] = float(before != after)
    rows[len(steps) :] = np.sqrt(2.0) * np.eye(8)
    solution = np.linalg.lstsq(rows, wanted, rcond=None)[0]
    np.testing.assert_allclose(lateness(taken, 8), solution, atol=1e-3)


def test_items_that_no_history_holds_together_are_set_in_order_by_those_between() -> None:
    links = [np.array([item, item + 1]) for item in range(9)] * 40
    assert lateness(links, 10).argsort().tolist() == list(range(10))


def test_the_order_turned_round_turns_it_round() -> None:
    draw = np.random.default_rng(5)
    taken = [draw.integers(0, 30, 6) for _ in range(50)]
    backwards = [history[::-1] for history in taken]
    np.testing.assert_allclose(lateness(taken, 30), -lateness(backwards, 30), atol=1e-3)


def test_nothing_taken_stands_nowhere() -> None:
    assert lateness([], 3).tolist() == [0.0, 0.0, 0.0]
    assert lateness([np.array([1])], 3).tolist() == [0.0, 0.0, 0.0]
