from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tfrec_llm.data.history_windows import history_windows


@settings(max_examples=50, deadline=None)
@given(st.integers(0, 30), st.integers(1, 8))
def test_each_item_but_the_oldest_is_foretold_in_one_window(length: int, most: int) -> None:
    windows = history_windows(np.arange(length), most)
    assert all(len(window) <= most + 1 for window in windows)
    foretold = sorted(int(item) for window in windows for item in window[1:])
    assert foretold == list(range(1, length))


@pytest.mark.parametrize(
    ("length", "wanted"), [(0, []), (1, [[0]]), (3, [[0, 1, 2]]), (4, [[1, 2, 3], [0, 1]])]
)
def test_the_newest_items_fill_the_first_window(length: int, wanted: list[list[int]]) -> None:
    assert [window.tolist() for window in history_windows(np.arange(length), 2)] == wanted
