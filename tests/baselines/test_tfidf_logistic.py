from __future__ import annotations

import numpy as np
import pytest

from tfrec_llm.baselines.tfidf_logistic import FEATURES, TfidfLogistic
from tfrec_llm.data.queries import Queries

TEXTS = ["red sea", "red rock", "blue sky", "blue bird", "", "red sky"]


def _cases(histories: list[list[int]], texts: list[str] | None = None) -> Queries:
    count = len(histories)
    return Queries(
        user_ids=[str(n) for n in range(count)],
        histories=[np.array(history, np.int32) for history in histories],
        texts=texts or [""] * count,
        targets=np.zeros(count, np.int32),
        is_cold_user=np.zeros(count, bool),
    )


def _cosine(left: str, right: str) -> float:
    from sklearn.feature_extraction.text import TfidfVectorizer

    vectors = TfidfVectorizer(sublinear_tf=True).fit(TEXTS).transform([left, right])
    return float(vectors[0].multiply(vectors[1]).sum())


def test_features_are_the_cosines_that_they_are_named_for() -> None:
    cases = _cases([[0, 2], []], ["", "blue rock"])
    features = TfidfLogistic(TEXTS).features(cases, np.array([0, 1]), np.array([5, 3]))
    first = dict(zip(FEATURES, features[0].tolist(), strict=True))
    assert first["nearest_of_history"] == pytest.approx(_cosine(TEXTS[2], TEXTS[5]), abs=1e-5)
    assert first["newest"] == pytest.approx(_cosine(TEXTS[2], TEXTS[5]), abs=1e-5)
    assert first["user_text"] == 0.0
    second = dict(zip(FEATURES, features[1].tolist(), strict=True))
    assert second["user_text"] == pytest.approx(_cosine("blue rock", TEXTS[3]), abs=1e-5)
    assert second["profile"] == second["nearest_of_history"] == 0.0


def test_the_features_of_a_pair_do_not_depend_on_the_other_pairs() -> None:
    model, cases = TfidfLogistic(TEXTS), _cases([[0, 2], [3], []])
    rows, items = np.array([2, 0, 1, 0]), np.array([1, 5, 2, 3])
    together = model.features(cases, rows, items)
    alone = [model.features(cases, rows[i : i + 1], items[i : i + 1])[0] for i in range(4)]
    np.testing.assert_allclose(together, alone, atol=1e-6)


def test_likeness_is_learned_and_popularity_is_not() -> None:
    cases = _cases([[0], [2], [1], [3]])
    rows, items = np.repeat(np.arange(4), 2), np.array([1, 3, 3, 1, 0, 2, 2, 0])
    labels = np.tile([1, 0], 4)
    logits = TfidfLogistic(TEXTS).fit(cases, rows, items, labels).logits(cases, rows, items)
    assert (logits[0::2] > logits[1::2]).all()


def test_texts_without_a_word_give_zeros() -> None:
    features = TfidfLogistic(["", ""]).features(_cases([[0]]), np.array([0]), np.array([1]))
    assert not features.any()
