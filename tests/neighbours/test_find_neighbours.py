"""Tests of who stands near whom."""

from __future__ import annotations

import numpy as np
from scipy import sparse
from sklearn.feature_extraction.text import TfidfVectorizer

from tfrec_llm.neighbours.find_neighbours import NeighbourSettings, find_neighbours
from tfrec_llm.neighbours.largest_of_rows import largest_of_rows
from tfrec_llm.neighbours.word_likeness import WordLikeness

TEXTS = ["dune by herbert", "dune messiah by herbert", "emma by austen", "herbert and dune", ""]
TAKEN = [np.array([0, 1]), np.array([0, 1]), np.array([2, 1])]
IS_NEW = np.array([False, False, False, True, True])


def test_likeness_by_words_is_the_cosine_of_tfidf_where_an_item_is_new() -> None:
    found = WordLikeness(TEXTS).new_pairs(IS_NEW, 9).toarray()
    vectors = TfidfVectorizer(token_pattern=r"\w+", sublinear_tf=True).fit_transform(TEXTS)
    wanted = (vectors @ vectors.T).toarray() * (IS_NEW[:, None] | IS_NEW[None, :])
    np.fill_diagonal(wanted, 0.0)
    np.testing.assert_allclose(found, wanted, atol=1e-6)


def test_old_items_stand_near_each_other_by_clicks_alone() -> None:
    settings = NeighbourSettings(weight=3.0, new_weight=2.0, regularisation=1.0, decay=0.5)
    found = find_neighbours(TAKEN, TEXTS, settings).matrix.toarray()
    np.testing.assert_allclose(found[0, 1], 3.0 * 2.0 / (2.0 + 1.0), atol=1e-6)
    assert found[0, 2] == found[1, 0] == 0.0  # it never came later


def test_old_items_stand_near_each_other_by_words_too() -> None:
    found = find_neighbours(TAKEN, TEXTS, NeighbourSettings(word_weight=2.0)).matrix.toarray()
    wanted = 2.0 * WordLikeness(TEXTS).pairs(~IS_NEW, ~IS_NEW, 9).toarray()
    np.testing.assert_allclose(found, wanted, atol=1e-6)
    assert found[0, 1] > 0.0 and not found[3:].any() and not found[:, 3:].any()


def test_a_new_item_stands_near_those_with_its_words() -> None:
    settings = NeighbourSettings(weight=1.0, new_weight=1.0)
    found = find_neighbours(TAKEN, TEXTS, settings).matrix.toarray()
    assert found[0, 3] > 0.0 and found[3, 0] == found[0, 3]
    assert found[2, 3] == 0.0  # no word in common
    assert not found[4].any()  # no word at all


def test_sharpness_is_a_power_of_the_likeness_of_new_items() -> None:
    plain, sharp = (
        find_neighbours(TAKEN, TEXTS, NeighbourSettings(new_weight=1.0, sharpness=power))
        for power in (1.0, 2.0)
    )
    assert not plain.is_empty
    squares = plain.matrix.toarray() ** 2
    np.testing.assert_allclose(sharp.matrix.toarray(), squares, atol=1e-6)


def test_weights_of_zero_make_an_empty_table() -> None:
    assert find_neighbours(TAKEN, TEXTS, NeighbourSettings()).is_empty


def test_new_items_are_not_crowded_out_by_old_ones() -> None:
    settings = NeighbourSettings(weight=9.0, new_weight=0.1, num_neighbours=1)
    found = find_neighbours(TAKEN, TEXTS, settings).matrix.toarray()
    assert found[0, 1] > 0.0 and found[0, 3] > 0.0


def test_texts_without_words_have_no_neighbours() -> None:
    assert WordLikeness(["", "?"]).new_pairs(np.array([True, False]), 3).nnz == 0


def test_only_the_largest_of_a_row_are_kept() -> None:
    matrix = sparse.csr_matrix([[0.1, 0.4, 0.2, 0.3], [0.0, 0.0, 0.5, 0.0]])
    kept = largest_of_rows(matrix, 2).toarray()
    np.testing.assert_allclose(kept, [[0.0, 0.4, 0.0, 0.3], [0.0, 0.0, 0.5, 0.0]])
