"""TF-IDF and zero-shot: texts alone decide."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from tfrec_llm.baselines.interactions import Interactions
from tfrec_llm.baselines.tfidf import Tfidf
from tfrec_llm.baselines.zero_shot import ZeroShot
from tfrec_llm.data.queries import Queries
from tfrec_llm.neighbours.words_of import words_of

MakeQueries = Callable[..., Queries]
MakeInteractions = Callable[..., Interactions]
TEXTS = ["space opera with ships", "ships of the line", "garden roses", "科幻小说", "三体 科幻", ""]
POPULAR = [0, 0, 2, 1, 0, 0]


@pytest.fixture
def interactions(make_interactions: MakeInteractions) -> Interactions:
    return make_interactions({"a": [2, 3], "b": [2]}, 6)


def test_words_are_lower_case_and_chinese_becomes_pairs_and_triples() -> None:
    assert words_of("Space-Opera 2001") == ["space", "opera", "2001"]
    assert words_of("读三体") == ["读三", "三体", "读三体"]
    assert words_of("书 x机器y") == ["书", "x", "机器", "y"]
    assert words_of("~ !") == []


def test_items_that_share_words_with_the_history_come_first(
    interactions: Interactions, make_queries: MakeQueries
) -> None:
    scores = Tfidf(TEXTS).fit(interactions).score(make_queries([[0], [3]]))
    assert scores[0].argsort()[-2:].tolist() == [1, 0]
    assert scores[1].argsort()[-2:].tolist() == [4, 3]


def test_free_text_is_used_only_where_the_history_is_empty(
    interactions: Interactions, make_queries: MakeQueries
) -> None:
    queries = make_queries([[], [2], []], texts=["roses", "ships", "我喜欢科幻"])
    scores = Tfidf(TEXTS).fit(interactions).score(queries)
    assert scores.argmax(axis=1).tolist()[:2] == [2, 2]
    assert scores[1, 1] == 0
    assert set(np.flatnonzero(scores[2])) == {3, 4}


@pytest.mark.parametrize(("history", "text"), [([], ""), ([], "unheard"), ([-1], " "), ([5], "")])
def test_tfidf_gives_popular_items_where_it_knows_nothing(
    interactions: Interactions, make_queries: MakeQueries, history: list[int], text: str
) -> None:
    scores = Tfidf(TEXTS).fit(interactions).score(make_queries([history], texts=[text]))
    assert scores.tolist() == [POPULAR]


def test_tfidf_of_a_corpus_without_words_gives_popular_items(
    interactions: Interactions, make_queries: MakeQueries
) -> None:
    model = Tfidf([""] * 6).fit(interactions)
    assert model.score(make_queries([[0], []], texts=["", "roses"])).tolist() == [POPULAR] * 2


FEATURES = np.array([[2, 0], [1, 1], [0, 3], [-1, 0], [0, -1], [0, 0]], np.float32)


def test_zero_shot_scores_are_cosines_with_the_mean_of_unit_vectors(
    interactions: Interactions, make_queries: MakeQueries
) -> None:
    model = ZeroShot(FEATURES, decay=0.5).fit(interactions)
    scores = model.score(make_queries([[0, 2]]))[0]
    user = np.array([1 / 3, 2 / 3])
    assert scores[0] == pytest.approx(user[0])
    assert scores[1] == pytest.approx(user.sum() / np.sqrt(2))
    assert scores[3] == pytest.approx(-user[0]) and scores[5] == 0


def test_zero_shot_takes_the_vectors_of_texts_where_the_history_is_empty(
    interactions: Interactions, make_queries: MakeQueries
) -> None:
    asked: list[list[str]] = []

    def vectors(texts: list[str]) -> np.ndarray:
        asked.append(texts)
        return np.array([[0.0, 9.0]] * len(texts))

    model = ZeroShot(FEATURES, vectors).fit(interactions)
    scores = model.score(make_queries([[0], [], []], texts=["x", "roses", ""]))
    assert asked == [["roses"]]
    assert scores[1, 2] == pytest.approx(1.0) and scores[0, 0] == pytest.approx(1.0)
    assert scores[2].tolist() == POPULAR


def test_zero_shot_without_text_vectors_gives_popular_items_to_users_without_history(
    interactions: Interactions, make_queries: MakeQueries
) -> None:
    model = ZeroShot(FEATURES).fit(interactions)
    assert model.score(make_queries([[], [5]], texts=["roses", ""])).tolist() == [POPULAR] * 2


def test_the_given_features_are_left_alone(interactions: Interactions) -> None:
    features = FEATURES.copy()
    ZeroShot(features).fit(interactions)
    assert (features == FEATURES).all()
