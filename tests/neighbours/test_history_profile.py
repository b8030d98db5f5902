"""Weights of a history."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tfrec_llm.neighbours.history_profile import history_profile


def test_newer_items_weigh_more_by_the_decay() -> None:
    weights = history_profile([np.array([3, 1, 0])], 4, decay=0.5).toarray()[0]
    assert weights == pytest.approx(np.array([4, 2, 0, 1]) / 7)


def test_without_decay_all_items_weigh_alike() -> None:
    assert history_profile([np.array([0, 1])], 3).toarray().tolist() == [[0.5, 0.5, 0]]


def test_unknown_items_take_no_weight_and_no_age() -> None:
    with_unknown = history_profile([np.array([2, -1, 0, -1])], 3, decay=0.5)
    without = history_profile([np.array([2, 0])], 3, decay=0.5)
    assert (with_unknown != without).nnz == 0


def test_an_item_that_occurs_twice_adds_its_weights() -> None:
    assert history_profile([np.array([0, 1, 0])], 2).toarray()[0] == pytest.approx([2 / 3, 1 / 3])


@pytest.mark.parametrize("decay", [0.0, -1.0, 1.5])
def test_a_decay_outside_its_range_is_refused(decay: float) -> None:
    with pytest.raises(ValueError, match="`decay` must lie in"):
        history_profile([np.array([0])], 1, decay=decay)


@given(st.lists(st.lists(st.integers(-1, 4), max_size=8), max_size=5), st.floats(0.05, 1.0))
def test_weights_of_each_row_add_up_to_1_or_0(histories: list[list[int]], decay: float) -> None:
    profile = history_profile([np.array(h, np.int32) for h in histories], 5, decay)
    assert profile.shape == (len(histories), 5)
    wanted = [float(any(item >= 0 for item in history)) for history in histories]
    assert np.asarray(profile.sum(axis=1)).ravel() == pytest.approx(wanted, abs=1e-5)
