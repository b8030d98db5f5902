"""Intervals: seeded, by user, as wide as theory says."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tfrec_llm.evaluation import bootstrap
from tfrec_llm.evaluation.bootstrap import bootstrap_intervals


def _users(n: int) -> list[str]:
    return [f"u{i}" for i in range(n)]


def test_the_interval_is_as_wide_as_the_standard_error_says() -> None:
    hits = (np.arange(2000) % 5 == 0).astype(float)[:, None]
    low, high = bootstrap_intervals(hits, _users(2000), samples=4000)[0]
    wanted = 1.96 * np.sqrt(0.2 * 0.8 / 2000)
    assert high - 0.2 == pytest.approx(wanted, rel=0.08)
    assert 0.2 - low == pytest.approx(wanted, rel=0.08)


def test_rows_of_one_user_are_drawn_together() -> None:
    values = np.repeat(np.arange(100) % 2.0, 50)[:, None]
    apart = bootstrap_intervals(values, _users(5000))[0]
    together = bootstrap_intervals(values, np.repeat(_users(100), 50).tolist())[0]
    assert np.ptp(together) == pytest.approx(np.ptp(apart) * np.sqrt(50), rel=0.15)


def test_a_user_with_more_rows_weighs_more() -> None:
    values = np.array([[1.0], [1.0], [1.0], [0.0]])
    low, high = bootstrap_intervals(values, ["a", "a", "a", "b"], samples=2000)[0]
    assert (low, high) == (0.0, 1.0)
    middle = bootstrap_intervals(values, ["a", "a", "a", "b"], samples=2000, confidence=1e-6)[0]
    assert middle == pytest.approx([0.75, 0.75])


def test_one_seed_gives_one_interval_and_another_seed_another() -> None:
    values = np.random.default_rng(0).random((50, 2))
    one = bootstrap_intervals(values, _users(50), seed=1)
    assert (one == bootstrap_intervals(values, _users(50), seed=1)).all()
    assert (one != bootstrap_intervals(values, _users(50), seed=2)).any()


def test_the_answer_does_not_depend_on_the_size_of_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    values = np.random.default_rng(0).random((30, 1))
    whole = bootstrap_intervals(values, _users(30), samples=100)
    monkeypatch.setattr(bootstrap, "_WEIGHTS_AT_ONCE", 77)
    assert bootstrap_intervals(values, _users(30), samples=100) == pytest.approx(whole)


def test_a_metric_without_variance_has_an_interval_without_width() -> None:
    assert bootstrap_intervals(np.ones((9, 1)), _users(9)).tolist() == [[1.0, 1.0]]


def test_no_rows_give_no_interval() -> None:
    assert np.isnan(bootstrap_intervals(np.zeros((0, 2)), [])).all()


def test_wrong_arguments_are_named() -> None:
    with pytest.raises(ValueError, match="one row for each of the 2 `user_ids`"):
        bootstrap_intervals(np.ones((3, 1)), _users(2))
    with pytest.raises(ValueError, match="`samples` must be at least 1"):
        bootstrap_intervals(np.ones((2, 1)), _users(2), samples=0)
    with pytest.raises(ValueError, match="`confidence` must lie in"):
        bootstrap_intervals(np.ones((2, 1)), _users(2), confidence=1.0)


@settings(max_examples=30)
@given(st.lists(st.floats(0, 1), min_size=1, max_size=30), st.integers(0, 9))
def test_intervals_lie_inside_the_range_of_the_values(values: list[float], seed: int) -> None:
    column = np.array(values)[:, None]
    low, high = bootstrap_intervals(column, _users(len(values)), samples=50, seed=seed)[0]
    assert min(values) - 1e-9 <= low <= high <= max(values) + 1e-9
