from __future__ import annotations

import numpy as np

from tfrec_llm.towers.random_start import random_start


def test_items_without_clicks_are_left_to_their_text() -> None:
    features = np.random.default_rng(0).normal(size=(6, 3)).astype(np.float32)
    start = random_start(np.array([1, 0, 2, 0, 5, 1]), features, 4, seed=7)
    assert start.id_table.any(axis=1).tolist() == [True, False, True, False, True, True]
    assert start.bias.tolist() == [0.0] * 4


def test_the_text_part_has_a_length_of_about_one_and_nothing_in_common() -> None:
    features = 9.0 * np.random.default_rng(0).normal(size=(500, 64)).astype(np.float32)
    start = random_start(np.ones(500, int), features, 128, seed=7)
    unit = features / np.linalg.norm(features, axis=1, keepdims=True)
    texts = (unit - start.centre) @ start.kernel
    assert 0.9 < np.linalg.norm(texts, axis=1).mean() < 1.1
    np.testing.assert_allclose(texts.mean(axis=0), 0.0, atol=1e-5)


def test_the_seed_decides() -> None:
    tables = [random_start(np.ones(3), np.eye(3), 4, seed=seed).id_table for seed in (1, 1, 2)]
    assert (tables[0] == tables[1]).all() and not (tables[0] == tables[2]).any()
