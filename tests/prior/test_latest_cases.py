"""Tests of which validation cases decide."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from tfrec_llm.data.queries import Queries
from tfrec_llm.prior.latest_cases import latest_cases

LATENESS = np.linspace(-1.0, 1.0, 9)


def _queries(newest: list[int | None]) -> Queries:
    histories = [np.array([] if item is None else [8, item], np.int32) for item in newest]
    names = [f"u{row}" for row in range(len(newest))]
    count = len(newest)
    return Queries(names, histories, [""] * count, np.zeros(count, np.int32), np.zeros(count, bool))


@given(st.lists(st.none() | st.integers(0, 8), max_size=30), st.integers(0, 40))
def test_no_case_that_is_left_out_is_later_than_one_that_is_kept(
    newest: list[int | None], fewest: int
) -> None:
    kept = latest_cases(_queries(newest), LATENESS, fewest).user_ids
    assert len(kept) == max((len(newest) + 1) // 2, min(len(newest), fewest))
    assert kept == sorted(kept, key=lambda name: int(name[1:]))
    places = [-np.inf if item is None else LATENESS[item] for item in newest]
    inside = [places[int(name[1:])] for name in kept]
    outside = [place for row, place in enumerate(places) if f"u{row}" not in kept]
    assert not inside or not outside or min(inside) >= max(outside)
