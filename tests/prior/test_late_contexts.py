"""Tests of how much steps count by the item they start from."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from tfrec_llm.prior.item_prior import PriorParts
from tfrec_llm.prior.late_contexts import late_context_weights

NUM_ITEMS = 40
histories = st.lists(
    st.lists(st.integers(0, NUM_ITEMS - 1), max_size=8).map(lambda items: np.array(items, int)),
    max_size=60,
)


def _drifting(num_users: int, seed: int = 3) -> list[np.ndarray]:
    """Returns histories that begin anywhere and go on with newer items, as far as there are any."""
    draw = np.random.default_rng(seed)
    walks = []
    for _ in range(num_users):
        steps = draw.integers(-1, 6, size=draw.integers(3, 9))
        walks.append(np.clip(draw.integers(NUM_ITEMS) + np.cumsum(steps), 0, NUM_ITEMS - 1))
    return walks


def _starts(walks: list[np.ndarray]) -> np.ndarray:
    return np.concatenate([walk[:-1] for walk in walks])


@given(histories)
def test_the_steps_weigh_1_in_the_mean_and_none_is_lost(walks: list[np.ndarray]) -> None:
    weights = late_context_weights(walks, NUM_ITEMS)
    assert weights.shape == (NUM_ITEMS,) and weights.dtype == np.float32
    assert np.isfinite(weights).all() and (weights > 0.0).all()
    starts = np.concatenate([*(walk[:-1] for walk in walks), np.zeros(0, int)])
    if len(starts):
        np.testing.assert_allclose(weights[starts].mean(), 1.0, rtol=1e-4)


@given(st.integers(0, 100))
def test_steps_then_start_about_as_late_as_histories_end(seed: int) -> None:
    walks = _drifting(800, seed)
    place = PriorParts.from_histories(walks, NUM_ITEMS).lateness
    starts, ends = _starts(walks), np.array([walk[-1] for walk in walks])
    weights = late_context_weights(walks, NUM_ITEMS)
    plain = place[starts].mean()
    moved = np.average(place[starts], weights=weights[starts])
    assert 0.6 < (moved - plain) / (place[ends].mean() - plain) < 1.05


def test_later_items_weigh_more() -> None:
    walks = _drifting(800)
    weights = late_context_weights(walks, NUM_ITEMS)
    place = PriorParts.from_histories(walks, NUM_ITEMS).lateness
    order = np.argsort(place)
    assert (np.diff(weights[order]) >= 0.0).all() and weights[order[-1]] > 2.0 * weights[order[0]]


def test_an_order_that_says_nothing_gives_no_weight() -> None:
    draw = np.random.default_rng(4)
    shuffled = [draw.permutation(walk) for walk in _drifting(800)]
    np.testing.assert_allclose(late_context_weights(shuffled, NUM_ITEMS), 1.0, atol=0.1)


def test_half_of_the_steps_worth_is_left_however_fast_a_corpus_changes() -> None:
    draw = np.random.default_rng(6)
    starts = np.minimum(draw.geometric(0.7, 2000) - 1, NUM_ITEMS - 4)  # hardly any steps are late
    walks = [start + np.arange(4) for start in starts]
    weights = late_context_weights(walks, NUM_ITEMS)[_starts(walks)].astype(np.float64)
    share = weights.sum() ** 2 / np.square(weights).sum() / len(weights)
    assert 0.4 < share < 1.0 and weights.std() > 0.3


def test_few_histories_tell_nothing() -> None:
    assert late_context_weights([np.array([0, 1])] * 9, 2).tolist() == [1.0, 1.0]
    assert late_context_weights([], 2).tolist() == [1.0, 1.0]
    assert late_context_weights([np.array([0])] * 50, 2).tolist() == [1.0, 1.0]
