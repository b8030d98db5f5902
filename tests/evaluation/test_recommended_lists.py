"""From scores to lists: history left out, faults of a model named."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from tfrec_llm.data.queries import Queries
from tfrec_llm.errors import DataError, TfrecLlmError
from tfrec_llm.evaluation.recommended_lists import check_queries, recommended_lists, target_ranks

MakeQueries = Callable[..., Queries]


def test_what_the_user_took_never_returns(make_queries: MakeQueries, fixed_scores: Any) -> None:
    queries = make_queries([3, 3], histories=[[0, 2], []])
    scores = np.array([[9, 1, 8, 2], [9, 1, 8, 2]], np.float32)
    lists = recommended_lists(fixed_scores(scores), queries, 4, np.arange(4))
    assert lists.tolist() == [[3, 1, -1, -1], [0, 2, 3, 1]]


def test_unknown_items_of_a_history_are_ignored(
    make_queries: MakeQueries, fixed_scores: Any
) -> None:
    queries = make_queries([0], histories=[[-1]])
    lists = recommended_lists(fixed_scores(np.ones((1, 3), np.float32)), queries, 3, np.arange(3))
    assert lists.tolist() == [[0, 1, 2]]


def test_lists_do_not_depend_on_the_batch_size(
    make_queries: MakeQueries, fixed_scores: Any
) -> None:
    scores = np.random.default_rng(1).integers(0, 3, (7, 9)).astype(np.float32)
    queries = make_queries([8] * 7, histories=[[i] for i in range(7)])
    model = fixed_scores(scores)
    lists = [
        recommended_lists(model, queries, 5, np.arange(9), batch_size=b) for b in (1, 3, 7, 99)
    ]
    assert all((one == lists[0]).all() for one in lists)
    assert model.batch_sizes == [1] * 7 + [3, 3, 1] + [7] + [7]


def test_the_models_own_array_is_left_alone(make_queries: MakeQueries) -> None:
    class Cached:
        name = "cached"
        scores = np.broadcast_to(np.arange(3, dtype=np.float32), (1, 3))

        def score(self, queries: Queries) -> np.ndarray:
            return self.scores

    recommended_lists(Cached(), make_queries([0], histories=[[2]]), 2, np.arange(3))
    assert Cached.scores.tolist() == [[0, 1, 2]]


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf, 1e300])
def test_a_score_that_is_not_finite_names_model_item_and_user(
    make_queries: MakeQueries, fixed_scores: Any, bad: float
) -> None:
    scores = np.zeros((2, 3))
    scores[1, 2] = bad
    with pytest.raises(TfrecLlmError, match=r"`broken` gave item number 2 .* for user 'u1'"):
        recommended_lists(fixed_scores(scores, "broken"), make_queries([0, 0]), 2, np.arange(3))


def test_scores_of_another_shape_are_refused(make_queries: MakeQueries, fixed_scores: Any) -> None:
    with pytest.raises(TfrecLlmError, match=r"`fixed` gave scores of shape \(1, 2\)"):
        recommended_lists(fixed_scores(np.zeros((1, 2))), make_queries([0]), 2, np.arange(3))


def test_a_target_in_its_own_history_is_refused(make_queries: MakeQueries) -> None:
    with pytest.raises(
        DataError, match=r"query 1 \(user 'u1'\): the target, item number 2, stands"
    ):
        check_queries(make_queries([0, 2], histories=[[1], [1, 2]]), 3)


@pytest.mark.parametrize("target", [-1, 3])
def test_a_target_outside_the_corpus_is_refused(make_queries: MakeQueries, target: int) -> None:
    with pytest.raises(DataError, match="is not in the corpus of 3 items"):
        check_queries(make_queries([target]), 3)


def test_a_history_outside_the_corpus_is_refused(make_queries: MakeQueries) -> None:
    with pytest.raises(DataError, match="the history holds item number 5"):
        check_queries(make_queries([0], histories=[[5]]), 3)


def test_a_target_that_is_not_listed_has_no_rank() -> None:
    assert target_ranks(np.array([[4, 2], [4, -1]]), np.array([4, 2])).tolist() == [0, -1]
    assert target_ranks(np.zeros((0, 3), np.int32), np.zeros(0, np.int32)).shape == (0,)
