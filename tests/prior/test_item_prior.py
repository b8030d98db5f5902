"""Tests of what a prior is made of."""

from __future__ import annotations

import numpy as np
import pytest

from tfrec_llm.prior.item_prior import PriorParts, PriorWeights


@pytest.fixture
def histories() -> list[np.ndarray]:
    draw = np.random.default_rng(2)
    return [np.minimum(draw.geometric(0.2, 5), 19) for _ in range(60)]


def test_parts_are_alike_in_scale_and_new_items_have_none(histories: list[np.ndarray]) -> None:
    parts = PriorParts.from_histories(histories, 25)
    known = np.bincount(np.concatenate(histories), minlength=25) > 0
    for part in (parts.popularity, parts.lateness):
        assert part.dtype == np.float32 and not part[~known].any()
        assert part[known].mean() == pytest.approx(0.0, abs=1e-5)
        assert part[known].std() == pytest.approx(1.0, abs=1e-5)


def test_what_more_took_is_more_popular(histories: list[np.ndarray]) -> None:
    clicks = np.bincount(np.concatenate(histories), minlength=25)
    popularity = PriorParts.from_histories(histories, 25).popularity
    assert popularity.argmax() == clicks.argmax()


def test_histories_without_order_have_no_late_items(histories: list[np.ndarray]) -> None:
    parts = PriorParts.from_histories(histories, 25, ordered=False)
    assert parts.popularity.any() and not parts.lateness.any()


def test_a_prior_is_the_weighted_sum(histories: list[np.ndarray]) -> None:
    parts = PriorParts.from_histories(histories, 25)
    prior = parts.prior(PriorWeights(popularity=-0.5, lateness=2.0))
    np.testing.assert_allclose(prior, -0.5 * parts.popularity + 2.0 * parts.lateness, atol=1e-6)
    assert prior.dtype == np.float32 and not parts.prior(PriorWeights()).any()


def test_a_corpus_where_all_is_taken_alike_says_nothing() -> None:
    parts = PriorParts.from_histories([np.array([0]), np.array([1])], 2)
    assert parts.popularity.tolist() == parts.lateness.tolist() == [0.0, 0.0]
