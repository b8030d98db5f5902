"""The poolings that take what is there: the first, the last, the largest."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tfrec_llm.fusion.first_token_pooling import FirstTokenPooling
from tfrec_llm.fusion.last_token_pooling import LastTokenPooling
from tfrec_llm.fusion.max_pooling import MaxPooling

TOKENS = np.array([[[1.0, -2.0], [3.0, -4.0], [8.0, -9.0]]], np.float32)


@pytest.mark.parametrize(
    ("mask", "first", "last", "largest"),
    [
        ([1, 1, 1], [1.0, -2.0], [8.0, -9.0], [8.0, -2.0]),
        ([1, 1, 0], [1.0, -2.0], [3.0, -4.0], [3.0, -2.0]),
        ([0, 1, 1], [3.0, -4.0], [8.0, -9.0], [8.0, -4.0]),
        ([0, 1, 0], [3.0, -4.0], [3.0, -4.0], [3.0, -4.0]),
        ([1, 0, 1], [1.0, -2.0], [8.0, -9.0], [8.0, -2.0]),
        ([0, 0, 0], [0.0, 0.0], [0.0, 0.0], [0.0, 0.0]),
    ],
)
def test_numbers_a_person_can_read_off(
    mask: list[int], first: list[float], last: list[float], largest: list[float]
) -> None:
    layers = FirstTokenPooling(), LastTokenPooling(), MaxPooling()
    found = [np.asarray(layer(TOKENS, np.array([mask])))[0].tolist() for layer in layers]
    assert found == [first, last, largest]


def test_a_mask_of_other_numbers_than_one_counts_tokens_alike() -> None:
    mask = np.array([[7, 2, 0]])
    assert np.asarray(LastTokenPooling()(TOKENS, mask)).tolist() == [[3.0, -4.0]]


@settings(max_examples=25, deadline=None)
@given(st.lists(st.booleans(), min_size=1, max_size=9), st.integers(0, 99))
def test_a_loop_over_the_tokens_says_the_same(mask: list[bool], seed: int) -> None:
    tokens = np.random.default_rng(seed).normal(size=(len(mask), 3)).astype(np.float32)
    seen = [token for token, is_token in zip(tokens, mask, strict=True) if is_token]
    seen = seen or [np.zeros(3, np.float32)]
    arguments = tokens[None], np.array([mask])
    np.testing.assert_array_equal(FirstTokenPooling()(*arguments)[0], seen[0])
    np.testing.assert_array_equal(LastTokenPooling()(*arguments)[0], seen[-1])
    np.testing.assert_array_equal(MaxPooling()(*arguments)[0], np.max(seen, axis=0))
