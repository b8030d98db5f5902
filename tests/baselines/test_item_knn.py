"""Neighbours by common users."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from tfrec_llm.baselines.interactions import Interactions
from tfrec_llm.baselines.item_knn import ItemKnn
from tfrec_llm.data.queries import Queries
from tfrec_llm.neighbours.shrunk_cosine import shrunk_cosine

MakeQueries = Callable[..., Queries]
MakeInteractions = Callable[..., Interactions]
TAKEN = {"a": [0, 1], "b": [0, 1], "c": [0, 2], "d": [3]}


def test_similarity_is_common_users_over_the_root_plus_shrinkage(
    make_interactions: MakeInteractions,
) -> None:
    similarity = shrunk_cosine(make_interactions(TAKEN, 5).matrix, 2.0, 10).toarray()
    assert similarity[0, 1] == pytest.approx(2 / (np.sqrt(3 * 2) + 2))
    assert similarity[0, 2] == pytest.approx(1 / (np.sqrt(3 * 1) + 2))
    assert (similarity.diagonal() == 0).all() and (similarity == similarity.T).all()


def test_only_the_nearest_neighbours_are_kept(make_interactions: MakeInteractions) -> None:
    similarity = shrunk_cosine(make_interactions(TAKEN, 5).matrix, 0.0, 1).toarray()
    assert similarity[0, 1] > 0 and similarity[0, 2] == 0
    assert similarity[2, 0] > 0


def test_blocks_of_items_change_nothing(
    make_interactions: MakeInteractions, monkeypatch: pytest.MonkeyPatch
) -> None:
    generator = np.random.default_rng(1)
    taken = {str(u): generator.choice(30, 5, replace=False).tolist() for u in range(60)}
    matrix = make_interactions(taken, 30).matrix
    whole = shrunk_cosine(matrix, 5.0, 30)
    monkeypatch.setattr("tfrec_llm.neighbours.shrunk_cosine._ITEMS_AT_ONCE", 7)
    assert (shrunk_cosine(matrix, 5.0, 30) != whole).nnz == 0


def test_the_newest_item_decides_when_old_ones_are_forgotten(
    make_interactions: MakeInteractions, make_queries: MakeQueries
) -> None:
    interactions = make_interactions({"a": [0, 1], "b": [2, 3]}, 4)
    model = ItemKnn(shrinkage=0.0, decay=0.1).fit(interactions)
    scores = model.score(make_queries([[0, 2], [2, 0]]))
    assert scores[0, 3] > scores[0, 1] and scores[1, 1] > scores[1, 3]


def test_users_need_not_be_known(
    make_interactions: MakeInteractions, make_queries: MakeQueries
) -> None:
    model = ItemKnn().fit(make_interactions(TAKEN, 5))
    known = model.score(make_queries([[0]], user_ids=["a"]))
    assert (known == model.score(make_queries([[0]], user_ids=["nobody"]))).all()


@pytest.mark.parametrize("history", [[], [-1], [4], [3]])
def test_where_nothing_has_a_neighbour_popular_items_are_given(
    make_interactions: MakeInteractions, make_queries: MakeQueries, history: list[int]
) -> None:
    model = ItemKnn().fit(make_interactions(TAKEN, 5))
    assert model.score(make_queries([history])).tolist() == [[3, 2, 1, 1, 0]]


def test_wrong_settings_are_refused() -> None:
    with pytest.raises(ValueError, match="`shrinkage` must be at least 0"):
        ItemKnn(shrinkage=-1)
    with pytest.raises(ValueError, match="`num_neighbours` must be at least 1"):
        ItemKnn(num_neighbours=0)
