"""A learned number an item, for being popular, in a column behind its vector."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from tfrec_llm.keras_api import tf
from tfrec_llm.testing.layer_checks import check_layer
from tfrec_llm.towers.item_tower import ItemTower
from tfrec_llm.towers.starts import ItemTowerStart

Make = Callable[..., Any]
PRIOR = {"item_tower": {"popularity_prior": True}}


def test_a_tower_with_a_prior_is_a_sound_layer() -> None:
    features = np.random.default_rng(1).normal(size=(4, 8)).astype(np.float32)
    made = ItemTower(6, embedding_dim=4, item_id_dropout=0.2, popularity_prior=True, seed=3)
    numbers = np.array([5, 0, -1, 2], np.int32)
    check_layer(made, {"text_features": features, "item_numbers": numbers})


def test_a_score_is_the_cosine_and_the_prior_of_the_item(
    make_model: Make, corpus: np.ndarray
) -> None:
    model = make_model(**PRIOR)
    table = model.item_tower.id_embedding.table.numpy()
    items = model.embed_corpus(corpus)
    vectors, prior = items[:, :4], items[:, 4]
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1.0, atol=1e-5)
    np.testing.assert_allclose(prior, table[:, 4], atol=1e-6)
    user = model.embed_users(
        tf.constant(items[None, [3, 1]]),
        tf.ones((1, 2), bool),
        tf.zeros((1, 6)),
        tf.constant([False]),
    ).numpy()[0]
    assert user[4] == 1.0 and np.linalg.norm(user[:4]) == pytest.approx(1.0, abs=1e-5)
    np.testing.assert_allclose(items @ user, vectors @ user[:4] + prior, atol=1e-5)


def test_the_prior_of_items_in_a_history_does_not_move_the_user(
    make_model: Make, corpus: np.ndarray
) -> None:
    model = make_model(**PRIOR)
    items = model.embed_corpus(corpus)
    rest = tf.ones((1, 2), bool), tf.zeros((1, 6)), tf.constant([False])
    louder = items.copy()
    louder[:, 4] += 5.0
    np.testing.assert_array_equal(
        model.embed_users(tf.constant(items[None, :2]), *rest),
        model.embed_users(tf.constant(louder[None, :2]), *rest),
    )


def test_a_new_item_has_no_prior(make_model: Make, corpus: np.ndarray) -> None:
    model = make_model(**PRIOR)
    is_new = np.arange(10) == 6
    items = model.embed_corpus(corpus, is_new)
    assert items[6, 4] == 0.0 and np.all(items[~is_new, 4] != 0.0)


def test_what_is_often_taken_gets_a_higher_prior(make_model: Make, make_batch: Make) -> None:
    model = make_model(**PRIOR)
    model.item_tower.id_embedding.table.assign(np.zeros((10, 5)))
    # Items 0 and 1 follow everything; the loss knows from their share that they are frequent,
    # and that they are taken at least as often as that is what the prior has to say.
    batch = make_batch(
        sequences=[[5, 0, 1], [6, 1, 0], [7, 0, 1], [8, 1, 0]],
        hide_history=[False] * 4,
        positive_share=np.full(10, 0.1),
        negatives=list(range(10)),
    )
    with tf.GradientTape() as tape:
        loss = model.training_loss(batch)
    table = model.item_tower.id_embedding.table.value
    slope = tf.convert_to_tensor(tape.gradient(loss, table)).numpy()[:, 4]
    assert slope[:2].max() < 0 < slope[2:].min()


def test_a_search_by_an_items_own_text_does_not_ask_for_the_prior(
    make_model: Make, make_batch: Make, corpus: np.ndarray
) -> None:
    model, numbers = make_model(**PRIOR), tf.constant([1, 4, 7])
    items = model.embed_corpus(corpus)
    louder = items + 5.0 * (1.0 - model.similarity_mask)
    losses = [
        float(
            model.text_search_loss(numbers, tf.constant(e[[1, 4, 7]]), tf.constant(corpus), [1, 2])
        )
        for e in (items, louder)
    ]
    assert losses[0] == pytest.approx(losses[1], abs=1e-6)


def test_a_start_leaves_the_prior_at_nothing(make_model: Make, corpus: np.ndarray) -> None:
    model = make_model(**PRIOR)
    draw = np.random.default_rng(3)
    start = [draw.normal(size=s).astype(np.float32) for s in ((6,), (6, 4), (4,), (10, 4))]
    model.set_start(ItemTowerStart(*start))
    table = model.item_tower.id_embedding.table.numpy()
    np.testing.assert_array_equal(table[:, :4], start[3])
    assert not table[:, 4].any()


def test_scaling_the_prior_leaves_the_vectors_alone(make_model: Make, corpus: np.ndarray) -> None:
    model = make_model(**PRIOR)
    before = model.embed_corpus(corpus)
    model.scale_prior(0.25)
    after = model.embed_corpus(corpus)
    np.testing.assert_allclose(after, before * [1, 1, 1, 1, 0.25], atol=1e-6)
    np.testing.assert_array_equal(model.similarity_mask, [1, 1, 1, 1, 0])


def test_a_queue_holds_the_prior_too(make_model: Make, make_batch: Make) -> None:
    model = make_model(**PRIOR, task_options={"queue_size": 16})
    assert np.isfinite(float(model.training_loss(make_batch())))
    assert model.task.queue.embeddings.shape == (16, 5)


def test_a_tower_of_text_alone_cannot_learn_a_prior() -> None:
    with pytest.raises(ValueError, match="num_items"):
        ItemTower(0, popularity_prior=True)
