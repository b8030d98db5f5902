from __future__ import annotations

import warnings

import numpy as np
import pytest

from tfrec_llm.keras_api import tf
from tfrec_llm.towers.item_tower import ItemTower
from tfrec_llm.towers.starts import (
    ItemTowerStart,
    factorise_clicks,
    near_pairs,
    start_item_tower,
)


def unit(rows: np.ndarray) -> np.ndarray:
    norms = np.linalg.norm(rows, axis=1, keepdims=True)
    return rows / np.where(norms > 1e-9, norms, 1.0)


def features(num_items: int, dim: int = 6) -> np.ndarray:
    return np.random.default_rng(num_items).normal(size=(num_items, dim)).astype(np.float32)


def clicks(num_items: int, num_users: int = 40) -> list[np.ndarray]:
    generator = np.random.default_rng(num_users)
    return [generator.choice(num_items, 3, replace=False) for _ in range(num_users)]


def tower_at(start: ItemTowerStart, num_items: int, dim: int) -> ItemTower:
    tower = ItemTower(num_items, embedding_dim=dim)
    tower.build((None, start.kernel.shape[0]))
    tower.text_projection.set_start(start.centre, start.kernel, start.bias)
    tower.id_embedding.table.assign(start.id_table)
    return tower


def is_finite(start: ItemTowerStart) -> bool:
    parts = (start.centre, start.kernel, start.bias, start.id_table)
    return all(np.isfinite(part).all() for part in parts)


@pytest.mark.parametrize("share", [0.0, 0.3, 1.0])
@pytest.mark.parametrize("power", [0.0, 0.25, 0.5])
def test_clicked_items_start_with_the_joint_likeness_of_clicks_and_texts(
    share: float, power: float
) -> None:
    """In a tower wide enough to keep everything, cosines of items are known beforehand."""
    num_items, dim = 9, 20
    texts = features(num_items)
    factors = factorise_clicks(clicks(num_items), num_items, num_factors=num_items)
    assert (factors.num_clicks > 0).all()
    start = start_item_tower(factors, texts, dim, text_share=share, power=power)
    found = np.asarray(tower_at(start, num_items, dim)(texts, tf.range(num_items)))

    by_clicks = unit(factors.vectors * factors.values**power)
    by_text = unit(unit(texts) - unit(texts).mean(axis=0))
    wanted = (1 - share) * by_clicks @ by_clicks.T + share * by_text @ by_text.T
    np.testing.assert_allclose(found @ found.T, wanted, atol=1e-3)


def test_a_narrow_tower_keeps_what_matters_most() -> None:
    """Two groups of items that never meet stay apart even in two dimensions."""
    histories = [np.array([0, 1, 2]), np.array([3, 4, 5])] * 20
    factors = factorise_clicks(histories, 6, num_factors=2)
    start = start_item_tower(factors, features(6), 2, text_share=0.0)
    found = np.asarray(tower_at(start, 6, 2)(features(6), tf.range(6)))
    likeness = found @ found.T
    assert likeness[:3, :3].min() > 0.9 and likeness[3:, 3:].min() > 0.9
    assert likeness[:3, 3:].max() < 0.5


def test_an_item_without_clicks_starts_at_its_text_alone() -> None:
    factors = factorise_clicks(clicks(8), 10, num_factors=4)
    start = start_item_tower(factors, features(10), 4)
    assert not np.any(start.id_table[8:])
    assert np.all(np.any(start.id_table[:8], axis=1))


def test_a_new_item_starts_near_the_items_its_text_is_like() -> None:
    """Item 8 was never clicked; its text is that of the first group."""
    generator = np.random.default_rng(2)
    texts = np.vstack([np.eye(6)[[0] * 4 + [1] * 4 + [0]]]) + generator.normal(0, 0.05, (9, 6))
    histories = [generator.permutation(4) for _ in range(20)]
    histories += [generator.permutation(4) + 4 for _ in range(20)]
    start = start_item_tower(factorise_clicks(histories, 9, 4), texts.astype(np.float32), 4)
    found = np.asarray(tower_at(start, 9, 4)(texts.astype(np.float32), tf.range(9)))
    likeness = found[:8] @ found[8]
    assert likeness[:4].min() > likeness[4:].max() + 0.5


def test_one_run_twice_gives_the_same_start() -> None:
    twice = [
        start_item_tower(factorise_clicks(clicks(1500, 900), 1500, 5, seed=3), features(1500), 4)
        for _ in range(2)
    ]
    for name in ("centre", "kernel", "bias", "id_table"):
        np.testing.assert_array_equal(getattr(twice[0], name), getattr(twice[1], name))


HARD_CASES = {
    "no clicks": ([], features(7)),
    "empty histories": ([np.zeros(0, np.int32)], features(7)),
    "histories of one item": ([np.array([3]), np.array([3])], features(7)),
    "one clicked item among many": ([np.array([3])], features(7)),
    "one item": ([np.array([0])], features(1)),
    "one item, no clicks": ([], features(1)),
    "two items": ([np.array([0, 1])], features(2)),
    "all texts equal": (clicks(7), np.ones((7, 6), np.float32)),
    "all texts equal, no clicks": ([], np.ones((7, 6), np.float32)),
    "all texts empty": (clicks(7), np.zeros((7, 6), np.float32)),
    "fewer items than dimensions": (clicks(3), features(3)),
    "one column of features": (clicks(7), features(7, 1)),
}


@pytest.mark.parametrize("share", [0.0, 0.4, 1.0])
@pytest.mark.parametrize("case", HARD_CASES)
def test_hard_cases_give_finite_starts_of_the_right_shapes(case: str, share: float) -> None:
    histories, texts = HARD_CASES[case]
    num_items, dim = len(texts), 5
    factors = factorise_clicks(histories, num_items, num_factors=dim)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        start = start_item_tower(factors, texts, dim, text_share=share)
    assert is_finite(start)
    assert start.kernel.shape == (texts.shape[1], dim) and start.bias.shape == (dim,)
    assert start.id_table.shape == (num_items, dim) and start.id_table.dtype == np.float32
    embeddings = tower_at(start, num_items, dim)(texts, tf.range(num_items))
    assert np.isfinite(embeddings).all()


def test_without_clicks_the_likeness_is_that_of_the_texts() -> None:
    texts = features(5, 3)
    start = start_item_tower(factorise_clicks([], 5, 4), texts, 8, text_share=0.1)
    found = np.asarray(tower_at(start, 5, 8)(texts, tf.range(5)))
    by_text = unit(unit(texts) - unit(texts).mean(axis=0))
    np.testing.assert_allclose(found @ found.T, by_text @ by_text.T, atol=0.05)


def test_pairs_are_counted_once_for_each_place_and_fade_with_their_gap() -> None:
    generator = np.random.default_rng(6)
    histories = [generator.integers(0, 5, size) for size in (0, 1, 2, 6, 30)]
    wanted = np.zeros((5, 5))
    for history in histories:
        for later in range(len(history)):
            for earlier in range(max(0, later - 20), later):
                weight = 0.9 ** (later - earlier - 1)
                wanted[history[earlier], history[later]] += weight
                wanted[history[later], history[earlier]] += weight
    np.testing.assert_allclose(near_pairs(histories, 5).toarray(), wanted, atol=1e-9)


def test_pairs_of_histories_without_order_count_alike() -> None:
    found = near_pairs([np.array([0, 1, 2]), np.arange(30)], 30, ordered=False).toarray()
    assert set(np.unique(found)) == {0.0, 1.0, 2.0}
    assert found[0, 2] == found[0, 1] == 2.0 and found[3, 23] == 1.0 and found[3, 24] == 0.0
    factors = factorise_clicks([np.array([0, 1, 2])], 3, 3, ordered=False)
    assert factors.values.round(6).tolist() == [2.0, 0.0, 0.0]  # of ones off the diagonal


def test_the_large_and_the_small_factorisation_agree() -> None:
    """Above a thousand items the eigenvalues are searched for, not computed at once."""
    histories = [np.array([2 * n, 2 * n + 1]) for n in range(20) for _ in range(n + 1)]
    small = factorise_clicks(histories, 100, num_factors=6)
    large = factorise_clicks(histories, 1100, num_factors=6)
    np.testing.assert_allclose(large.values, small.values, rtol=0.02)


def test_eigenvalues_come_largest_first_and_never_below_zero() -> None:
    values = factorise_clicks(clicks(8), 8, num_factors=8).values
    assert (np.diff(values) <= 0).all() and (values >= 0).all()
