"""The two halves of a text."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from tfrec_llm.keras_api import tf
from tfrec_llm.pretraining.halves_loss import TEMPERATURE, halves, halves_loss


@given(st.lists(st.integers(5, 99), max_size=30), st.integers(0, 2**32 - 1))
def test_the_halves_make_up_the_whole_between_start_and_end(inner, seed):
    one, other = halves(np.array([2, *inner, 3]), np.random.default_rng(seed))
    assert one[0] == other[0] == 2 and one[-1] == other[-1] == 3
    assert sorted([*one[1:-1], *other[1:-1]]) == sorted(inner)


def test_the_loss_is_the_softmax_of_the_cosines_both_ways():
    draw = np.random.default_rng(1)
    one, other = draw.normal(size=(2, 4, 3)).astype(np.float32)
    loss, found = halves_loss(tf.constant(one), tf.constant(other))
    cosines = one @ other.T
    cosines /= np.linalg.norm(one, axis=1)[:, None] * np.linalg.norm(other, axis=1)
    exponentials = np.exp(cosines / TEMPERATURE)
    right = np.diag(exponentials)
    expected = -np.log(right / exponentials.sum(1)) - np.log(right / exponentials.sum(0))
    np.testing.assert_allclose(loss, expected.mean() / 2, rtol=1e-4)
    assert found.numpy().tolist() == (cosines.argmax(1) == np.arange(4)).astype(float).tolist()


def test_texts_that_are_told_apart_cost_less():
    alike, apart = tf.ones((3, 2)), tf.eye(3)
    assert float(halves_loss(apart, apart)[0]) < 0.01 < float(halves_loss(alike, alike)[0])
