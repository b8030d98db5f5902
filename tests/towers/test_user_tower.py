from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tfrec_llm.keras_api import tf
from tfrec_llm.testing.layer_checks import check_layer, randomise
from tfrec_llm.towers.history_encoder import KINDS
from tfrec_llm.towers.user_tower import UserTower, left_padding_order

every_kind = pytest.mark.parametrize("kind", KINDS)
TEXT = np.random.default_rng(5).normal(size=(3, 4)).astype(np.float32)
HAS_TEXT = np.array([True, False, True])


def tower(kind: str = "mean", max_history: int = 5) -> UserTower:
    made = UserTower(kind, max_history=max_history)
    made.build((None, None, 4))
    randomise(made)
    return made


@every_kind
def test_it_is_a_sound_layer(kind: str, history: np.ndarray, left_mask: np.ndarray) -> None:
    inputs = {
        "history_embeddings": history,
        "history_mask": left_mask[:, ::-1],
        "text_embeddings": TEXT,
        "text_mask": HAS_TEXT,
    }
    masks = {"history_mask": "history_embeddings", "text_mask": "text_embeddings"}
    check_layer(UserTower(kind, max_history=5, dropout=0.2, text_weight=0.7), inputs, masks)


@every_kind
def test_masked_slots_may_stand_anywhere(kind: str, history: np.ndarray) -> None:
    made = tower(kind)
    wanted = made(history[:, :3], np.ones((3, 3), bool), TEXT, HAS_TEXT)
    for places in ([0, 1, 2], [5, 6, 7], [0, 3, 7], [1, 2, 6]):
        spread = np.full((3, 8, 4), 9.0, np.float32)
        spread[:, places] = history[:, :3]
        mask = np.zeros((3, 8), bool)
        mask[:, places] = True
        np.testing.assert_allclose(made(spread, mask, TEXT, HAS_TEXT), wanted, atol=1e-5)


@every_kind
def test_an_empty_history_is_the_same_in_every_width(kind: str) -> None:
    made = tower(kind)
    no_width = made(np.zeros((3, 0, 4), np.float32), np.zeros((3, 0), bool), TEXT, HAS_TEXT)
    masked = made(np.ones((3, 4, 4), np.float32), np.zeros((3, 4), bool), TEXT, HAS_TEXT)
    np.testing.assert_allclose(no_width, masked, atol=1e-5)
    np.testing.assert_array_equal(np.asarray(no_width)[1], 0.0)  # nothing known of this user


@every_kind
def test_serving_sees_what_training_saw_at_the_last_position(
    kind: str, history: np.ndarray, left_mask: np.ndarray
) -> None:
    made = tower(kind)
    trained = np.asarray(made.at_every_position(history, left_mask, TEXT, HAS_TEXT))
    np.testing.assert_allclose(made(history, left_mask, TEXT, HAS_TEXT), trained[:, -1], atol=1e-5)
    for length in (1, 3):
        served = made(history[:, :length], left_mask[:, :length], TEXT, HAS_TEXT)
        np.testing.assert_allclose(served, trained[:, length - 1], atol=1e-5)


@every_kind
def test_only_the_newest_items_count(kind: str, history: np.ndarray) -> None:
    made = tower(kind, max_history=2)
    whole = made(history, np.ones((3, 5), bool), TEXT, HAS_TEXT)
    newest = made(history[:, 3:], np.ones((3, 2), bool), TEXT, HAS_TEXT)
    np.testing.assert_allclose(whole, newest, atol=1e-6)


def test_a_user_does_not_depend_on_the_users_beside_them(
    history: np.ndarray, left_mask: np.ndarray
) -> None:
    made = tower("transformer")
    together = np.asarray(made(history, left_mask, TEXT, HAS_TEXT))
    alone = made(history[1:2], left_mask[1:2], TEXT[1:2], HAS_TEXT[1:2])
    np.testing.assert_allclose(alone, together[1:2], atol=1e-5)


def test_rows_have_length_one(history: np.ndarray, left_mask: np.ndarray) -> None:
    lengths = np.linalg.norm(tower("gru")(history, left_mask, TEXT, HAS_TEXT), axis=1)
    np.testing.assert_allclose(lengths, 1.0, atol=1e-5)


def test_a_text_alone_points_where_the_text_points() -> None:
    made = UserTower("mean", max_history=3)
    found = made(np.zeros((3, 0, 4), np.float32), np.zeros((3, 0), bool), TEXT, np.ones(3, bool))
    np.testing.assert_allclose(found, TEXT / np.linalg.norm(TEXT, axis=1, keepdims=True), atol=1e-5)


def test_at_the_start_history_and_text_add_up_by_the_text_weight(history: np.ndarray) -> None:
    made = UserTower("transformer", max_history=3, text_weight=0.25)
    found = made(history[:, :1], np.ones((3, 1), bool), TEXT, np.ones(3, bool))
    wanted = history[:, 0] + 0.25 * TEXT / np.linalg.norm(TEXT, axis=1, keepdims=True)
    wanted /= np.linalg.norm(wanted, axis=1, keepdims=True)
    np.testing.assert_allclose(found, wanted, atol=1e-5)


def test_the_length_of_a_text_vector_does_not_matter(
    history: np.ndarray, left_mask: np.ndarray
) -> None:
    made = tower()
    np.testing.assert_allclose(
        made(history, left_mask, TEXT * 9.0, HAS_TEXT),
        made(history, left_mask, TEXT, HAS_TEXT),
        atol=1e-5,
    )


@settings(max_examples=30)
@given(st.lists(st.booleans(), max_size=9))
def test_left_padding_keeps_the_items_in_order(mask: list[bool]) -> None:
    order = np.asarray(left_padding_order(tf.constant([mask], tf.bool)))[0].tolist()
    gone = [i for i, here in enumerate(mask) if not here]
    kept = [i for i, here in enumerate(mask) if here]
    assert order == gone + kept


@every_kind
def test_gaps_go_with_their_items_wherever_padding_stands(kind: str, history: np.ndarray) -> None:
    made = UserTower(kind, max_history=5, time_gaps=True)
    made.build((None, None, 4))
    randomise(made)
    gaps = np.array([[0, 3, 9], [0, 20, 1], [0, 0, 5]], np.int32)
    wanted = made(history[:, :3], np.ones((3, 3), bool), TEXT, HAS_TEXT, gaps)
    untimed = made(history[:, :3], np.ones((3, 3), bool), TEXT, HAS_TEXT)
    assert np.abs(np.asarray(wanted) - untimed).max() > 1e-3
    for places in ([0, 1, 2], [5, 6, 7], [0, 3, 7]):
        spread, spread_gaps = np.full((3, 8, 4), 9.0, np.float32), np.full((3, 8), 8, np.int32)
        spread[:, places], spread_gaps[:, places] = history[:, :3], gaps
        mask = np.zeros((3, 8), bool)
        mask[:, places] = True
        found = made(spread, mask, TEXT, HAS_TEXT, spread_gaps)
        np.testing.assert_allclose(found, wanted, atol=1e-5)
