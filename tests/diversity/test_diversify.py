"""The steps from candidates to a list, on numbers a person can check, and their laws."""

from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tfrec_llm.diversity.determinantal_point_process import DeterminantalPointProcess
from tfrec_llm.diversity.diversify import diversify
from tfrec_llm.diversity.knobs import Knobs
from tfrec_llm.diversity.maximal_marginal_relevance import MaximalMarginalRelevance
from tfrec_llm.diversity.pick_greedily import pick_greedily

EAST, NORTH, WEST = [1.0, 0.0], [0.0, 1.0], [-1.0, 0.0]
UNPOPULAR = np.zeros(4)


def rows(*args: Any, **kwargs: Any) -> list[int]:
    return diversify(*args, **kwargs).tolist()


def test_with_no_knob_turned_the_order_of_the_scores_stands() -> None:
    scores = np.array([0.1, 0.7, 0.7, 0.4])
    assert rows(scores, np.eye(4), np.ones(4), 3, Knobs()) == [1, 2, 3]


@pytest.mark.parametrize("method", ["mmr", "dpp"])
def test_a_second_item_of_the_same_direction_comes_last(method: str) -> None:
    scores = np.array([10.0, 9.9, 9.0, 8.8])
    directions = np.array([EAST, EAST, NORTH, WEST])
    knobs = Knobs(diversity=0.9, method=method)
    assert rows(scores, directions, UNPOPULAR, 4, knobs)[0] == 0
    assert rows(scores, directions, UNPOPULAR, 4, knobs)[-1] == 1


@pytest.mark.parametrize(
    ("method", "gain"), [("mmr", MaximalMarginalRelevance), ("dpp", DeterminantalPointProcess)]
)
def test_the_method_asked_for_chooses_by_direction_whatever_the_order_of_candidates(
    method: str, gain: Any
) -> None:
    generator = np.random.default_rng(4)
    scores, vectors = generator.random(30), generator.normal(size=(30, 3))
    best_first = np.argsort(-scores)
    relevance = (scores - scores.min()) / (scores.max() - scores.min())
    units = vectors / np.sqrt((vectors**2).sum(axis=1, keepdims=True))
    picks = pick_greedily(gain(relevance[best_first], units[best_first], 0.5), 12)
    longer = vectors * generator.uniform(0.1, 20.0, (30, 1))
    listed = rows(scores, longer, np.zeros(30), 12, Knobs(0.5, method))
    assert listed == best_first[picks].tolist()


def test_the_two_methods_differ() -> None:
    generator = np.random.default_rng(4)
    case = (generator.random(30), generator.normal(size=(30, 3)), np.zeros(30), 12)
    assert rows(*case, Knobs(0.5, "mmr")) != rows(*case, Knobs(0.5, "dpp"))


@pytest.mark.parametrize(("penalty", "expected"), [(0.49, [0, 1, 2]), (0.51, [1, 0, 2])])
def test_the_penalty_is_in_units_of_the_range_of_scores(
    penalty: float, expected: list[int]
) -> None:
    """Relevance is 1, 0.5 and 0; only the best item is popular."""
    scores, popularity = np.array([30.0, 20.0, 10.0]), np.array([1.0, 0.0, 0.0])
    assert rows(scores, np.eye(3), popularity, 3, Knobs(popularity_penalty=penalty)) == expected


@pytest.mark.parametrize("method", ["mmr", "dpp"])
def test_without_relevance_the_first_pick_is_the_best_after_the_penalty(method: str) -> None:
    knobs = Knobs(diversity=1.0, method=method, popularity_penalty=2.0)
    assert rows(np.array([2.0, 1.0]), np.eye(2), np.array([1.0, 0.0]), 1, knobs) == [1]


@pytest.mark.parametrize("diversity", [0.0, 0.5])
def test_a_full_category_leaves_its_place_to_items_further_down(diversity: float) -> None:
    categories = ["a", "a", "a", "b", None, None, None, "b", "b"]
    scores = -np.arange(9.0)
    knobs = Knobs(diversity=diversity, max_per_category=2)
    listed = rows(scores, np.ones((9, 2)), np.zeros(9), 9, knobs, categories)
    assert listed == [0, 1, 3, 4, 5, 6, 7]


def test_items_without_a_category_are_never_limited() -> None:
    knobs = Knobs(max_per_category=1)
    listed = rows(-np.arange(5.0), np.eye(5), np.zeros(5), 5, knobs, ["", "", None, None, "a"])
    assert listed == [0, 1, 2, 3, 4]


def test_categories_are_not_limited_where_no_limit_is_given() -> None:
    listed = rows(-np.arange(3.0), np.eye(3), np.zeros(3), 3, Knobs(), ["a", "a", "a"])
    assert listed == [0, 1, 2]


def test_equal_scores_are_no_relevance_and_keep_their_order() -> None:
    assert rows(np.full(3, 0.2), np.eye(3), np.zeros(3), 3, Knobs(diversity=0.5)) == [0, 1, 2]


@pytest.mark.parametrize("knobs", [Knobs(), Knobs(0.5), Knobs(0.5, "dpp")])
def test_no_candidate_gives_no_list_and_one_gives_one(knobs: Knobs) -> None:
    assert rows(np.zeros(0), np.zeros((0, 2)), np.zeros(0), 3, knobs) == []
    assert rows(np.ones(1), np.zeros((1, 2)), np.ones(1), 3, knobs) == [0]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"k": 0}, "`k` must be at least 1"),
        ({"scores": np.array([1.0, np.nan])}, "NaN or infinity"),
        ({"embeddings": np.eye(3)}, "`embeddings` must have one row for each of 2"),
        ({"popularity": np.ones(1)}, "`popularity` must have"),
        ({"categories": ["a"]}, "`categories` must have"),
    ],
)
def test_what_does_not_fit_is_refused(changes: dict[str, Any], message: str) -> None:
    good = {"scores": np.ones(2), "embeddings": np.eye(2), "popularity": np.ones(2), "k": 1}
    with pytest.raises(ValueError, match=message):
        diversify(**{**good, **changes}, knobs=Knobs())


@given(st.data())
def test_a_list_is_unique_within_its_limits_and_as_long_as_it_can_be(data: st.DataObject) -> None:
    n, k = data.draw(st.integers(0, 12)), data.draw(st.integers(1, 14))
    most = data.draw(st.none() | st.integers(1, 3))
    knobs = Knobs(
        data.draw(st.sampled_from([0.0, 0.3, 1.0])),
        data.draw(st.sampled_from(["mmr", "dpp"])),
        data.draw(st.sampled_from([0.0, 0.5, 5.0])),
        most,
    )
    generator = np.random.default_rng(data.draw(st.integers(0, 99)))
    categories = data.draw(st.lists(st.sampled_from([None, "a", "b"]), min_size=n, max_size=n))
    case = (
        generator.integers(0, 4, n).astype(np.float32),
        generator.integers(-1, 2, (n, 2)),
        generator.random(n),
        k,
        knobs,
        categories,
    )
    listed = rows(*case)
    assert listed == rows(*case)
    assert len(set(listed)) == len(listed) and set(listed) <= set(range(n))
    counts = Counter(categories)
    allowed = sum(
        number if name is None or most is None else min(number, most)
        for name, number in counts.items()
    )
    assert len(listed) == min(k, allowed)
    shown = Counter(categories[row] for row in listed)
    assert most is None or all(shown[name] <= most for name in ("a", "b"))
