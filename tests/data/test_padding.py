from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from tfrec_llm.data.padding import left_padded

sequences = st.lists(st.lists(st.integers(0, 99), max_size=6), max_size=5)


@given(sequences, st.integers(0, 4), st.one_of(st.none(), st.integers(0, 8)))
def test_every_row_ends_with_its_newest_items_after_padding(
    rows: list[list[int]], min_length: int, max_length: int | None
) -> None:
    found = left_padded([np.array(r, np.int32) for r in rows], min_length, max_length)
    assert found.dtype == np.int32 and found.shape[0] == len(rows)
    width = found.shape[1]
    assert width >= min_length
    if max_length is not None:
        assert width <= max(max_length, min_length)
    for row, wanted in zip(found.tolist(), rows, strict=True):
        kept = wanted[max(0, len(wanted) - width) :]
        assert row == [-1] * (width - len(kept)) + kept


def test_nothing_at_all_has_the_least_width() -> None:
    assert left_padded([]).shape == (0, 1)
    assert left_padded([np.array([], np.int32)]).tolist() == [[-1]]


def test_nothing_is_wider_than_the_longest_row() -> None:
    assert left_padded([np.array([1, 2]), np.array([3])], max_length=50).shape == (2, 2)
