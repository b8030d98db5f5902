"""Tests of sorting vectors into lists of one width."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from tfrec_llm.retrieval.inverted_lists import inverted_lists


@settings(max_examples=25, deadline=None)
@given(num_rows=st.integers(1, 120), share=st.floats(0.0, 1.0), seed=st.integers(0, 50))
def test_each_row_stands_in_one_list(num_rows: int, share: float, seed: int) -> None:
    rows = np.random.default_rng(seed).normal(size=(num_rows, 3)).astype(np.float32)
    num_lists = max(1, round(share * num_rows))
    found = inverted_lists(rows, num_lists, seed)
    assert found.numbers.shape[0] == len(found.centres) == num_lists
    assert sorted(found.numbers[found.numbers >= 0].tolist()) == list(range(num_rows))
    assert np.isfinite(found.centres).all()


def test_a_crowd_is_spread_over_lists_of_one_width() -> None:
    draw = np.random.default_rng(0)
    crowd = 0.01 * draw.normal(size=(900, 4)) + 5.0
    rows = np.concatenate([crowd, draw.normal(size=(100, 4))]).astype(np.float32)
    numbers = inverted_lists(rows, 20).numbers
    assert numbers.shape == (20, 58)  # 1.15 times the mean of 50
    assert (np.diff((numbers >= 0).astype(int), axis=1) <= 0).all()  # padding stands behind


def test_centres_are_the_means_of_their_lists() -> None:
    rows = np.random.default_rng(1).normal(size=(200, 5)).astype(np.float32)
    found = inverted_lists(rows, 7)
    for centre, numbers in zip(found.centres, found.numbers, strict=True):
        members = rows[numbers[numbers >= 0]]
        if len(members):
            np.testing.assert_allclose(centre, members.mean(axis=0), atol=1e-5)


def test_vectors_of_a_list_are_near_each_other() -> None:
    draw = np.random.default_rng(2)
    places = 10.0 * draw.normal(size=(8, 6))
    rows = np.concatenate([place + draw.normal(size=(50, 6)) for place in places])
    rows = rows.astype(np.float32)
    found = inverted_lists(rows, 8)
    of_list = [rows[n[n >= 0]] for n in found.numbers]
    within = np.mean([((r - r.mean(axis=0)) ** 2).sum(axis=1).mean() for r in of_list if len(r)])
    assert within < 0.5 * ((rows - rows.mean(axis=0)) ** 2).sum(axis=1).mean()
