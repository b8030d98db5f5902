from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tfrec_llm.diversity.log_popularity import log_popularity


def test_equal_ratios_of_clicks_plus_one_are_equal_steps() -> None:
    clicks = np.array([0, 1, 3, 7])  # plus one: 1, 2, 4, 8
    assert log_popularity(clicks / 11) == pytest.approx([0, 1 / 3, 2 / 3, 1])


def test_items_without_clicks_have_a_place_below_one_click() -> None:
    values = log_popularity(np.array([0.0, 0.25, 0.75]))
    assert values.tolist() == [0.0, pytest.approx(math.log(2) / math.log(4)), 1.0]


@pytest.mark.parametrize("shares", [[], [0.0, 0.0], [0.5, 0.5]])
def test_where_all_are_alike_nobody_is_popular(shares: list[float]) -> None:
    assert log_popularity(np.array(shares)).tolist() == [0.0] * len(shares)


@pytest.mark.parametrize("wrong", [-0.1, np.nan, np.inf])
def test_what_is_no_share_is_refused(wrong: float) -> None:
    with pytest.raises(ValueError, match="finite and not negative"):
        log_popularity(np.array([0.5, wrong]))


@given(st.lists(st.integers(0, 10**6), min_size=1, max_size=20))
def test_the_order_is_that_of_the_clicks_within_0_and_1(clicks: list[int]) -> None:
    values = log_popularity(np.array(clicks) / max(1, sum(clicks)))
    assert (values >= 0).all() and (values <= 1).all()
    in_order = values[np.argsort(clicks, kind="stable")]
    assert (np.diff(in_order) >= 0).all()
