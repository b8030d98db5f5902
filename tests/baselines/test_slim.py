"""What each item of a history says for others, learned."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from tfrec_llm.baselines.interactions import Interactions
from tfrec_llm.baselines.slim import Slim
from tfrec_llm.data.queries import Queries

MakeQueries = Callable[..., Queries]
MakeInteractions = Callable[..., Interactions]
TAKEN = {"a": [0, 1], "b": [0, 1], "c": [0, 2], "d": [3]}


def test_what_came_next_is_foretold_in_order(
    make_interactions: MakeInteractions, make_queries: MakeQueries
) -> None:
    model = Slim(regularisation=1.0, recency=0.5).fit(make_interactions(TAKEN, 5))
    scores = model.score(make_queries([[0]]))[0]
    # Three cases of 0, of which two went on to 1 and one to 2.
    np.testing.assert_allclose(scores, [0.0, 2 / 4, 1 / 4, 0.0, 0.0], atol=1e-6)


def test_newer_items_of_a_history_count_more(
    make_interactions: MakeInteractions, make_queries: MakeQueries
) -> None:
    model = Slim(regularisation=1.0, recency=0.5).fit(
        make_interactions({"a": [0, 1], "b": [2, 3]}, 4)
    )
    scores = model.score(make_queries([[0, 2], [2, 0]]))
    assert scores[0, 3] > scores[0, 1] and scores[1, 1] > scores[1, 3]


@pytest.mark.parametrize("history", [[], [-1], [4], [3]])
def test_where_nothing_is_said_popular_items_are_given(
    make_interactions: MakeInteractions, make_queries: MakeQueries, history: list[int]
) -> None:
    model = Slim().fit(make_interactions(TAKEN, 5))
    assert model.score(make_queries([history])).tolist() == [[3, 2, 1, 1, 0]]


def test_wrong_settings_are_refused() -> None:
    with pytest.raises(ValueError, match="`regularisation` must be above 0"):
        Slim(regularisation=0)
    with pytest.raises(ValueError, match="`num_neighbours` must be at least 1"):
        Slim(num_neighbours=0)
