"""Tests of how much neighbours are made to count."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tfrec_llm.data.queries import Queries
from tfrec_llm.prior.item_prior import PriorParts, PriorWeights
from tfrec_llm.trainer.choose_neighbours import (
    _best_for_new_items,
    _Cases,
    _Trial,
    choose_neighbours,
)

NUM_PAIRS = 30  # items 2i and 2i+1 are always taken together
NUM_ITEMS = 2 * NUM_PAIRS


def _histories() -> list[np.ndarray]:
    return [np.array([2 * pair, 2 * pair + 1]) for pair in range(NUM_PAIRS)] * 3


def _queries() -> Queries:
    rows = np.arange(NUM_PAIRS)
    return Queries(
        [f"u{i}" for i in rows],
        [np.array([2 * i]) for i in rows],
        [""] * NUM_PAIRS,
        (2 * rows + 1).astype(np.int32),
        np.zeros(NUM_PAIRS, bool),
    )


def _texts() -> list[str]:
    return [f"series{i // 2}" for i in range(NUM_ITEMS)]


def test_neighbours_count_where_vectors_say_nothing() -> None:
    def embed(queries: Queries, is_new: np.ndarray, scale: float) -> tuple[np.ndarray, np.ndarray]:
        return np.ones((NUM_PAIRS, 2), np.float32), np.ones((NUM_ITEMS, 2), np.float32)

    chosen = choose_neighbours(_queries(), _histories(), _texts(), embed)
    assert chosen.settings.weight > 0.0 and chosen.settings.new_weight > 0.0
    assert chosen.validation_ndcg == 1.0 > chosen.validation_ndcg_without


def test_vectors_that_know_all_are_left_alone() -> None:
    def embed(queries: Queries, is_new: np.ndarray, scale: float) -> tuple[np.ndarray, np.ndarray]:
        items = np.zeros((NUM_ITEMS, NUM_ITEMS), np.float32)
        np.fill_diagonal(items, 1.0)
        return items[1::2], items

    chosen = choose_neighbours(_queries(), _histories(), _texts(), embed)
    assert chosen.settings.weight == chosen.settings.word_weight == 0.0
    assert chosen.validation_ndcg == 1.0


def test_new_items_that_cost_nothing_keep_their_length() -> None:
    def embed(queries: Queries, is_new: np.ndarray, scale: float) -> tuple[np.ndarray, np.ndarray]:
        # Old targets have a score of 1, wrong items .1, targets that are new .8 × the scale.
        users = np.eye(NUM_PAIRS, dtype=np.float32)
        items = np.full((NUM_ITEMS, NUM_PAIRS), 0.1, np.float32)
        for pair in range(NUM_PAIRS):
            items[2 * pair + 1, pair] = 0.8 * scale if is_new[2 * pair + 1] else 1.0
        return users, items

    chosen = choose_neighbours(_queries(), _histories(), [""] * NUM_ITEMS, embed, seed=3)
    assert chosen.new_item_scale == 1.0


def test_new_items_never_stand_so_high_that_others_suffer() -> None:
    def embed(queries: Queries, is_new: np.ndarray, scale: float) -> tuple[np.ndarray, np.ndarray]:
        # Every new item scores 1.2 × the scale for everybody, old targets 1, all else .1.
        items = np.full((NUM_ITEMS, NUM_PAIRS), 0.1, np.float32)
        items[1::2][np.eye(NUM_PAIRS, dtype=bool)] = 1.0
        items[is_new] = 1.2 * scale
        return np.eye(NUM_PAIRS, dtype=np.float32), items

    options = {"new_item_cost": 0.02, "seed": 3}
    chosen = choose_neighbours(_queries(), _histories(), [""] * NUM_ITEMS, embed, **options)
    assert chosen.new_item_scale == 0.8  # the last at which they stay below 1


def test_new_items_are_placed_by_some_of_the_cases() -> None:
    asked = []

    def embed(queries: Queries, is_new: np.ndarray, scale: float) -> tuple[np.ndarray, np.ndarray]:
        asked.append(queries.user_ids)
        return np.ones((len(queries), 2), np.float32), np.ones((NUM_ITEMS, 2), np.float32)

    choose_neighbours(_queries(), _histories(), _texts(), embed, cases_for_new_items=7)
    everybody, *some = asked
    assert everybody == _queries().user_ids
    assert all(users == some[0] for users in some) and len(some[0]) == 7
    assert some[0][0] == everybody[0] and some[0][-1] == everybody[-1]


def test_old_items_of_a_history_fade_where_they_lead_astray() -> None:
    def embed(queries: Queries, is_new: np.ndarray, scale: float) -> tuple[np.ndarray, np.ndarray]:
        return np.ones((len(queries), 2), np.float32), np.ones((NUM_ITEMS, 2), np.float32)

    plain = _queries()
    others = [np.array([(first[0] + 2) % NUM_ITEMS, first[0]]) for first in plain.histories]
    queries = Queries(plain.user_ids, others, plain.texts, plain.targets, plain.is_cold_user)
    chosen = choose_neighbours(queries, _histories(), [""] * NUM_ITEMS, embed)
    assert chosen.settings.decay < 1.0 == chosen.validation_ndcg


def test_without_cases_the_towers_stay_alone() -> None:
    def embed(queries: Queries, is_new: np.ndarray, scale: float) -> tuple[np.ndarray, np.ndarray]:
        raise AssertionError("nothing to embed")

    chosen = choose_neighbours(_queries().take([]), _histories(), _texts(), embed)
    assert chosen.settings.weight == 0.0


def test_a_target_that_ties_stands_last_and_the_history_does_not_count() -> None:
    case = Queries(["u"], [np.array([0])], [""], np.array([2], np.int32), np.zeros(1, bool))
    cases = _Cases(case, 4)
    # item 0 is seen, item 1 ties with the target: second place
    scores = np.array([[9.0, 1.0, 1.0, 0.0]])
    assert cases.ranks(lambda rows: [scores[rows]]).tolist() == [[1]]
    assert cases.ndcgs(lambda rows: [scores[rows]]) == [pytest.approx(1.0 / np.log2(3.0))]


@given(seed=st.integers(0, 99), num_cases=st.integers(1, 100), all_items=st.booleans())
def test_places_are_those_of_a_sort(seed: int, num_cases: int, all_items: bool) -> None:
    rng = np.random.default_rng(seed)
    scores = rng.permuted(np.tile(np.arange(9.0), (num_cases, 1)), axis=1)
    targets = rng.integers(0, 9, num_cases).astype(np.int32)
    seen = [np.setdiff1d(rng.integers(0, 9, 3), [target]) for target in targets]
    among = None if all_items else rng.random(9) < 0.5
    names = [""] * num_cases
    cases = _Cases(Queries(names, seen, names, targets, np.zeros(num_cases, bool)), 9)
    found = cases.ranks(lambda rows: [scores[rows], -scores[rows]], among)
    for case, (target, history) in enumerate(zip(targets, seen, strict=True)):
        others = set(range(9) if among is None else np.flatnonzero(among)) - {*history, target}
        for way, sign in enumerate((1.0, -1.0)):
            by_score = sorted([*others, target], key=lambda item: -sign * scores[case, item])
            # A target that is not among the ranked items is not counted as one above itself.
            is_ranked = among is None or among[target]
            assert found[way, case] == by_score.index(target) - (not is_ranked)


def _trial(weight: float, as_it_is: float, with_taken: float, of_new: float) -> _Trial:
    return _Trial(1.0, weight, 1.0, as_it_is, with_taken, of_new)


def test_words_reach_as_far_as_finds_new_items_best_within_the_cost() -> None:
    trials = [
        _trial(1.0, 0.100, 0.100, 0.01),
        _trial(2.0, 0.099, 0.100, 0.03),
        _trial(3.0, 0.099, 0.097, 0.05),  # costs 3 % with the items taken for new
        _trial(4.0, 0.090, 0.099, 0.07),  # costs 10 % with those that are new
    ]
    assert _best_for_new_items(trials, 0.02).weight == 2.0
    assert _best_for_new_items(trials, 0.05).weight == 3.0
    assert _best_for_new_items(trials, 0.2).weight == 4.0


def test_where_every_place_costs_too_much_the_cheapest_is_taken() -> None:
    trials = [_trial(1.0, 0.1, 0.05, 0.5), _trial(2.0, 0.09, 0.1, 0.1)]
    assert _best_for_new_items(trials, 0.02).weight == 2.0


def test_without_a_hit_to_lose_nothing_costs() -> None:
    assert _best_for_new_items([_trial(1.0, 0.0, 0.0, 0.0)], 0.0).weight == 1.0


def _blind(queries: Queries, is_new: np.ndarray, scale: float) -> tuple[np.ndarray, np.ndarray]:
    """Vectors that say next to nothing: the same for everybody, items nearly alike."""
    noise = np.random.default_rng(4).normal(size=(NUM_ITEMS, 1)).astype(np.float32)
    return np.ones((NUM_PAIRS, 1), np.float32), 0.01 * noise


def test_items_that_come_late_gain_where_the_next_item_is_one_of_them() -> None:
    parts = PriorParts.from_histories(_histories(), NUM_ITEMS)  # the odd ones come late
    chosen = choose_neighbours(
        _queries(), _histories(), _texts(), _blind, num_neighbours=0, prior_parts=parts
    )
    assert chosen.prior.lateness > 0.0
    assert chosen.settings.weight == chosen.settings.new_weight == 0.0
    assert chosen.validation_ndcg > chosen.validation_ndcg_without


def test_what_is_popular_loses_where_the_next_item_is_rare() -> None:
    popular = [np.array([2 * pair]) for pair in range(NUM_PAIRS)] * 20
    parts = PriorParts.from_histories(_histories() + popular, NUM_ITEMS, ordered=False)
    chosen = choose_neighbours(
        _queries(), _histories(), _texts(), _blind, num_neighbours=0, prior_parts=parts
    )
    assert chosen.prior.popularity < 0.0 == chosen.prior.lateness


def test_what_is_popular_never_gains() -> None:
    popular = [np.array([2 * pair + 1]) for pair in range(NUM_PAIRS)] * 20
    parts = PriorParts.from_histories(_histories() + popular, NUM_ITEMS, ordered=False)
    chosen = choose_neighbours(
        _queries(), _histories(), _texts(), _blind, num_neighbours=0, prior_parts=parts
    )
    assert chosen.prior == PriorWeights()


def test_a_prior_that_brings_nothing_is_left_out() -> None:
    def embed(queries: Queries, is_new: np.ndarray, scale: float) -> tuple[np.ndarray, np.ndarray]:
        items = np.eye(NUM_ITEMS, dtype=np.float32)
        return items[1::2], items

    parts = PriorParts.from_histories(_histories(), NUM_ITEMS)
    chosen = choose_neighbours(_queries(), _histories(), _texts(), embed, prior_parts=parts)
    assert chosen.prior == PriorWeights()
