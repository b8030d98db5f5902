"""A number an item, said beside its vector: in a column of its own, for users with a history."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from tfrec_llm.keras_api import tf

Make = Callable[..., Any]
PRIOR = np.linspace(-0.2, 0.25, 10, dtype=np.float32)


@pytest.fixture
def model(make_model: Make) -> Any:
    made = make_model(num_priors=10)
    made.item_prior.assign(PRIOR)
    return made


def test_a_score_is_the_cosine_and_the_prior_of_the_item(model: Any, corpus: np.ndarray) -> None:
    items = model.embed_corpus(corpus)
    vectors, prior = items[:, :4], items[:, 4]
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1.0, atol=1e-5)
    np.testing.assert_array_equal(prior, PRIOR)
    user = model.embed_users(
        tf.constant(items[None, [3, 1]]),
        tf.ones((1, 2), bool),
        tf.zeros((1, 6)),
        tf.constant([False]),
    ).numpy()[0]
    assert user[4] == 1.0 and np.linalg.norm(user[:4]) == pytest.approx(1.0, abs=1e-5)
    np.testing.assert_allclose(items @ user, vectors @ user[:4] + prior, atol=1e-5)


def test_who_is_known_by_a_text_alone_does_not_ask_for_it(model: Any, corpus: np.ndarray) -> None:
    items = model.embed_corpus(corpus)
    users = model.embed_users(
        tf.constant(items[None, [3, 1]].repeat(2, axis=0)),
        tf.constant([[False, False], [False, True]]),
        tf.constant(corpus[:2]),
        tf.constant([True, True]),
    ).numpy()
    np.testing.assert_array_equal(users[:, 4], [0.0, 1.0])


def test_the_prior_of_items_in_a_history_does_not_move_the_user(
    model: Any, corpus: np.ndarray
) -> None:
    items = model.embed_corpus(corpus)
    rest = tf.ones((1, 2), bool), tf.zeros((1, 6)), tf.constant([False])
    louder = items.copy()
    louder[:, 4] += 5.0
    np.testing.assert_array_equal(
        model.embed_users(tf.constant(items[None, :2]), *rest),
        model.embed_users(tf.constant(louder[None, :2]), *rest),
    )


def test_a_new_item_has_no_prior(model: Any, corpus: np.ndarray) -> None:
    is_new = np.arange(10) == 6
    items = model.embed_corpus(corpus, is_new)
    assert items[6, 4] == 0.0
    np.testing.assert_array_equal(items[~is_new, 4], PRIOR[~is_new])


def test_training_knows_nothing_of_it(model: Any, make_batch: Make) -> None:
    with_prior = float(model.training_loss(make_batch()))
    model.item_prior.assign(np.zeros(10))
    assert float(model.training_loss(make_batch())) == with_prior
    assert all("item_prior" not in variable.path for variable in model.trainable_variables)


def test_scaling_the_prior_leaves_the_vectors_alone(model: Any, corpus: np.ndarray) -> None:
    before = model.embed_corpus(corpus)
    model.scale_prior(0.25)
    after = model.embed_corpus(corpus)
    np.testing.assert_allclose(after, before * [1, 1, 1, 1, 0.25], atol=1e-6)
    np.testing.assert_array_equal(model.similarity_mask, [1, 1, 1, 1, 0])


def test_a_model_without_one_has_no_column_for_it(make_model: Make, corpus: np.ndarray) -> None:
    model = make_model()
    model.scale_prior(0.5)
    assert model.embed_corpus(corpus).shape == (10, 4)
    np.testing.assert_array_equal(model.similarity_mask, [1, 1, 1, 1])
