from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import sparse

from tfrec_llm.neighbours.carry_over import carry_over, renumbered
from tfrec_llm.neighbours.find_neighbours import NeighbourSettings, find_neighbours
from tfrec_llm.neighbours.neighbour_table import NeighbourTable

SETTINGS = NeighbourSettings(
    weight=2.0,
    word_weight=0.5,
    new_weight=1.5,
    sharpness=1.5,
    regularisation=2.0,
    decay=0.6,
    num_neighbours=20,
)
TEXTS = ["blue sea", "red rock", "sea food", "red sea", "rock food"]
TAKEN = [np.array([0, 1, 3]), np.array([0, 1]), np.array([1, 3])]


def _dense(table: NeighbourTable) -> np.ndarray:
    return np.asarray(table.matrix.toarray())


@given(st.data())
def test_every_pair_that_stays_keeps_its_weight(data: st.DataObject) -> None:
    size = data.draw(st.integers(1, 7))
    drawn = st.lists(st.sampled_from([0.0, 0.0, 0.25, 0.5]), min_size=size**2, max_size=size**2)
    weights = np.array(data.draw(drawn), np.float32).reshape(size, size)
    before = NeighbourTable.from_matrix(sparse.csr_matrix(weights), 0.8)
    kept = data.draw(st.lists(st.integers(0, size - 1), unique=True))
    previous = np.array(data.draw(st.permutations([*kept, -1, -1])), np.int32)
    after = renumbered(before, previous)
    expected = np.zeros((len(previous), len(previous)), np.float32)
    for row, old_row in enumerate(previous):
        for column, old_column in enumerate(previous):
            if old_row >= 0 and old_column >= 0:
                expected[row, column] = weights[old_row, old_column]
    np.testing.assert_array_equal(_dense(after), expected)
    assert after.decay == 0.8
    present = after.numbers >= 0
    assert (np.sort(~present, axis=1) == ~present).all(), "no gap in a row"


def test_an_added_item_gets_the_neighbours_that_training_would_give_it() -> None:
    trained = np.array([True, True, False, True, False])
    before = find_neighbours(TAKEN, TEXTS[:4], SETTINGS)
    after = carry_over(
        before, np.array([0, 1, 2, 3, -1]), trained, np.arange(5) == 4, TEXTS, SETTINGS
    )
    anew = _dense(find_neighbours(TAKEN, TEXTS, SETTINGS))
    found, old = _dense(after), np.arange(4)
    np.testing.assert_array_equal(found[np.ix_(old, old)], _dense(before))
    assert found[4].any()
    np.testing.assert_allclose(found[4], anew[4], atol=1e-6)
    np.testing.assert_allclose(found[:, 4], anew[:, 4], atol=1e-6)


def test_a_changed_text_is_compared_anew_with_items_without_clicks_alone() -> None:
    trained = np.array([True, True, False, True, False])
    before = find_neighbours(TAKEN, TEXTS, SETTINGS)
    texts = [TEXTS[0], "blue food", *TEXTS[2:]]
    after = carry_over(before, np.arange(5), trained, np.arange(5) == 1, texts, SETTINGS)
    found, was = _dense(after), _dense(before)
    clicked = np.flatnonzero(trained)
    np.testing.assert_array_equal(
        found[np.ix_(clicked, clicked)], was[np.ix_(clicked, clicked)]
    )  # what clicks say does not follow the text
    anew = _dense(find_neighbours(TAKEN, texts, SETTINGS))
    np.testing.assert_allclose(found[1, [2, 4]], anew[1, [2, 4]], atol=1e-6)
    np.testing.assert_allclose(found[[2, 4], 1], anew[[2, 4], 1], atol=1e-6)
    assert found[1, 2] != was[1, 2]


@pytest.mark.parametrize("settings", [None, NeighbourSettings(weight=1.0)])
def test_without_a_weight_of_words_new_items_have_none(settings: NeighbourSettings | None) -> None:
    before = NeighbourTable(np.array([[1], [0]]), np.array([[0.5], [0.5]]), 0.7)
    after = carry_over(
        before, np.array([1, 0, -1]), np.ones(3, bool), np.arange(3) == 2, TEXTS[:3], settings
    )
    np.testing.assert_array_equal(_dense(after)[2], 0.0)
    np.testing.assert_array_equal(_dense(after)[:2, :2], [[0.0, 0.5], [0.5, 0.0]])


def test_rows_do_not_grow_by_being_refreshed() -> None:
    settings = NeighbourSettings(new_weight=1.0, num_neighbours=3)
    table, texts = NeighbourTable.empty(1), ["sea"]
    for number in range(1, 9):
        texts.append(f"sea {'rock ' * number}")
        previous = np.array([*range(number), -1])
        table = carry_over(
            table, previous, np.zeros(number + 1, bool), previous < 0, texts, settings
        )
    assert table.numbers.shape[1] <= 3
