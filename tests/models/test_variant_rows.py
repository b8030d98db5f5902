from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from tfrec_llm.keras_api import tf
from tfrec_llm.models.variant_rows import variant_rows

NUMBERS = tf.range(5, dtype=tf.int32)


def rows(num_variants: int, seed: int = 1, draw: int = 0) -> np.ndarray:
    features = tf.zeros((5 * num_variants, 2))
    found = variant_rows(NUMBERS, features, 5, tf.constant([seed, 2]), draw)
    return np.asarray(found)


def test_without_copies_the_numbers_come_back() -> None:
    features = tf.zeros((5, 2))
    assert variant_rows(NUMBERS, features, 5, tf.constant([1, 2])) is NUMBERS


def test_every_item_keeps_its_number_and_gets_every_variant_in_time() -> None:
    seen = np.stack([rows(3, seed) for seed in range(60)])
    np.testing.assert_array_equal(seen % 5, np.tile(np.arange(5), (60, 1)))
    assert all(set(seen[:, i] // 5) == {0, 1, 2} for i in range(5))


def test_a_seed_gives_its_rows_again_and_two_draws_of_a_step_differ() -> None:
    np.testing.assert_array_equal(rows(17, 3), rows(17, 3))
    assert (rows(17, 3) != rows(17, 4)).any() and (rows(17, 3) != rows(17, 3, draw=1)).any()


def test_copies_equal_to_the_originals_leave_the_loss_as_it_is(
    make_model: Callable[..., Any], make_batch: Callable[..., dict[str, Any]]
) -> None:
    plain = {**make_batch(), "text_search_weight": 0.5}
    features = plain["corpus_features"]
    doubled = {**plain, "corpus_features": tf.concat([features, features], axis=0)}
    other = {**plain, "corpus_features": tf.concat([features, 0.5 - features], axis=0)}
    without = float(make_model().training_loss(plain))
    assert float(make_model().training_loss(doubled)) == without
    assert float(make_model().training_loss(other)) != without
