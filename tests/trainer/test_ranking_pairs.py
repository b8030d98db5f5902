from __future__ import annotations

import numpy as np
import polars as pl
from hypothesis import given, settings
from hypothesis import strategies as st

from tfrec_llm.trainer.ranking_pairs import ranking_cases, sample_pairs

NUM_ITEMS = 12
sequences = st.lists(
    st.lists(st.integers(0, NUM_ITEMS - 1), min_size=1, max_size=NUM_ITEMS, unique=True),
    min_size=1,
    max_size=4,
)


def _frame(users: list[list[int]]) -> pl.DataFrame:
    rows = [(f"u{n}", i, 10 * p) for n, items in enumerate(users) for p, i in enumerate(items)]
    names = {"user_id": pl.String, "item_number": pl.Int32, "position": pl.Int64}
    return pl.DataFrame(rows, schema=names, orient="row").sample(fraction=1.0, shuffle=True, seed=1)


@settings(deadline=None, max_examples=80)
@given(users=sequences, max_history=st.integers(1, 6), with_text=st.booleans())
def test_a_history_holds_only_what_came_before_the_target(
    users: list[list[int]], max_history: int, with_text: bool
) -> None:
    texts = {"u0": "space"} if with_text else {}
    cases = ranking_cases(_frame(users), texts, max_history)
    expected = [
        (f"u{n}", items[max(0, p - max_history) : p], items[p])
        for n, items in enumerate(users)
        for p in range(len(items))
        if p or f"u{n}" in texts
    ]
    found = zip(cases.user_ids, cases.histories, cases.targets.tolist(), strict=True)
    assert [(user, history.tolist(), target) for user, history, target in found] == expected


@settings(deadline=None, max_examples=80)
@given(
    users=sequences,
    num_negatives=st.integers(0, 5),
    hard_share=st.sampled_from([0.0, 0.5, 1.0]),
    seed=st.integers(0, 9),
)
def test_what_a_user_took_is_never_a_negative_and_each_target_is_there_once(
    users: list[list[int]], num_negatives: int, hard_share: float, seed: int
) -> None:
    cases = ranking_cases(_frame(users), {}, 3)
    owners = np.array([int(user[1:]) for user in cases.user_ids], np.int64)
    candidates = np.random.default_rng(seed).integers(-1, NUM_ITEMS, (len(users), 4))
    pairs = sample_pairs(
        cases,
        [np.array(items) for items in users],
        owners,
        NUM_ITEMS,
        np.random.default_rng(seed),
        num_negatives=num_negatives,
        hard_share=hard_share,
        candidates=candidates,
    )
    positive = pairs.labels == 1
    assert pairs.rows[positive].tolist() == list(range(len(cases)))
    assert pairs.items[positive].tolist() == cases.targets.tolist()
    for row, item in zip(pairs.rows[~positive], pairs.items[~positive], strict=True):
        assert 0 <= item < NUM_ITEMS and item not in users[owners[row]]
    others = np.array([NUM_ITEMS - len(users[owner]) for owner in owners], int)
    drawn = np.bincount(pairs.rows[~positive], minlength=len(cases))
    assert drawn.tolist() == np.where(others > 0, num_negatives, 0).tolist()


def test_hard_negatives_come_from_the_candidates_alone() -> None:
    cases = ranking_cases(_frame([[0, 1, 2]]), {}, 3)
    pairs = sample_pairs(
        cases,
        [np.array([0, 1, 2])],
        np.zeros(2, np.int64),
        1000,
        np.random.default_rng(0),
        num_negatives=20,
        hard_share=1.0,
        candidates=np.array([[1, 7, 9, -1]]),
    )
    assert set(pairs.items[pairs.labels == 0].tolist()) == {7, 9}


def test_the_same_seed_draws_the_same_pairs_and_another_does_not() -> None:
    cases = ranking_cases(_frame([[0, 1, 2, 3]]), {}, 3)
    first, again, other = (
        sample_pairs(
            cases, [[]], np.zeros(3, np.int64), 1000, np.random.default_rng(seed), num_negatives=9
        )
        for seed in (1, 1, 2)
    )
    np.testing.assert_array_equal(first.items, again.items)
    assert (first.items != other.items).any()
