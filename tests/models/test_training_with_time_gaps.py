"""The time between items in a training step: whose is told, and that it is that of serving."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from tfrec_llm.keras_api import tf
from tfrec_llm.models import two_tower_model

Make = Callable[..., Any]
GAPS = np.array([[0, 0, 5, 9, 1], [0, 3, 30, 1, 2], [0, 0, 0, 7, 8], [0] * 5], np.int32)


@pytest.fixture
def everyone_is_timed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(two_tower_model, "UNTIMED_SHARE", 0.0)


@pytest.mark.usefixtures("everyone_is_timed")
def test_training_embeds_users_as_serving_does(make_model: Make, make_batch: Make) -> None:
    model, seen = make_model("gru", time_gaps=True), []
    batch = make_batch(gaps=GAPS)
    real = model.task

    class Listening:
        queue = None

        def __call__(self, **inputs: Any) -> Any:
            seen.append(inputs["query_embeddings"].numpy())
            return real(**inputs)

    model.__dict__["task"] = Listening()
    model.training_loss(batch)
    items = model.embed_corpus(batch["corpus_features"].numpy())
    wanted = []
    for place, length in [(0, 1), (0, 2), (0, 3), (1, 1), (1, 2), (1, 3), (1, 4)]:
        row = batch["sequences"].numpy()[place]
        begin = int((row < 0).sum())
        stretch = slice(begin, begin + length)
        users = model.embed_users(
            tf.constant(items[row[stretch]][None]),
            tf.ones((1, length), tf.bool),
            batch["user_features"][place : place + 1],
            batch["user_text_mask"][place : place + 1],
            tf.constant(GAPS[place : place + 1, stretch]),
        )
        wanted.append(users.numpy()[0])
    np.testing.assert_allclose(seen[0][: len(wanted)], wanted, atol=1e-5)


@pytest.mark.usefixtures("everyone_is_timed")
def test_when_the_last_target_was_taken_changes_nothing(make_model: Make, make_batch: Make) -> None:
    model, later = make_model("gru", time_gaps=True), GAPS.copy()
    later[:, -1] = 31
    first, second = (float(model.training_loss(make_batch(gaps=g))) for g in (GAPS, later))
    assert first == second
    later[:, -2] = 31
    assert float(model.training_loss(make_batch(gaps=later))) != pytest.approx(first, abs=1e-5)


def test_unknown_gaps_train_as_no_gaps_do(make_model: Make, make_batch: Make) -> None:
    model = make_model("gru", time_gaps=True)
    unknown = float(model.training_loss(make_batch(gaps=np.zeros_like(GAPS))))
    assert unknown == pytest.approx(float(model.training_loss(make_batch())), abs=1e-6)


def test_a_fifth_of_the_users_of_a_step_has_all_gaps_hidden() -> None:
    gaps, mask = tf.fill((2000, 3), 4), tf.ones((2000, 3), tf.bool)
    shown = two_tower_model._some_hidden(gaps, mask, tf.constant([1, 2])).numpy()
    is_hidden = (shown == 0).all(axis=1)
    assert 0.17 < is_hidden.mean() < 0.23
    assert (shown[~is_hidden] == 4).all()
    again = two_tower_model._some_hidden(gaps, mask, tf.constant([1, 2]))
    other = two_tower_model._some_hidden(gaps, mask, tf.constant([1, 3]))
    np.testing.assert_array_equal(shown, again)
    assert (shown != other.numpy()).any()


def test_the_gap_of_a_hidden_item_is_hidden() -> None:
    mask = tf.constant([[False, True]] * 50)
    shown = two_tower_model._some_hidden(tf.fill((50, 2), 4), mask, tf.constant([1, 2])).numpy()
    assert not shown[:, 0].any() and shown[:, 1].any()
