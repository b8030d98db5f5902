"""SASRec against a slow reading of its definition, and on data whose order says everything."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest

from tfrec_llm.baselines.interactions import Interactions
from tfrec_llm.baselines.popularity import Popularity
from tfrec_llm.baselines.sasrec import Sasrec
from tfrec_llm.data.queries import Queries
from tfrec_llm.errors import DivergedError
from tfrec_llm.evaluation.recommended_lists import recommended_lists, target_ranks
from tfrec_llm.keras_api import tf

MakeQueries = Callable[..., Queries]
MakeInteractions = Callable[..., Interactions]

NUM_ITEMS = 60


@pytest.fixture(scope="module")
def rounds() -> tuple[dict[str, list[int]], dict[str, list[int]]]:
    """Each user goes round the items from a place of their own; 200 to learn from, 60 to ask."""
    generator = np.random.default_rng(0)

    def walk(users: int) -> dict[str, list[int]]:
        starts, lengths = (
            generator.integers(NUM_ITEMS, size=users),
            generator.integers(4, 12, users),
        )
        return {
            f"u{n}": [(int(start) + i) % NUM_ITEMS for i in range(length)]
            for n, (start, length) in enumerate(zip(starts, lengths, strict=True))
        }

    return walk(200), walk(60)


@pytest.fixture(scope="module")
def small(make_interactions: MakeInteractions) -> Sasrec:
    """Trained a little, so that no weight is at its start any more."""
    taken = {"a": [0, 1, 2, 3], "b": [2, 5, 0], "c": [4, 1], "d": [3, 2, 1, 0, 5]}
    options: dict[str, Any] = {"embedding_dim": 8, "num_heads": 2, "max_history": 5}
    model = Sasrec(**options, learning_rate=0.02, num_epochs=20, dropout=0.0)
    return model.fit(make_interactions(taken, num_items=7))


def recall_at_10(model: Any, queries: Queries) -> float:
    lists = recommended_lists(model, queries, 10, np.arange(NUM_ITEMS))
    return float((target_ranks(lists, queries.targets) >= 0).mean())


def test_an_order_that_decides_the_next_item_is_learned_where_popularity_cannot(
    rounds: tuple[dict[str, list[int]], dict[str, list[int]]],
    make_interactions: MakeInteractions,
    make_queries: MakeQueries,
) -> None:
    known, asked = rounds
    interactions = make_interactions(known, num_items=NUM_ITEMS)
    queries = make_queries(
        [walk[:-1] for walk in asked.values()], targets=[walk[-1] for walk in asked.values()]
    )
    model = Sasrec(embedding_dim=32, batch_size=32, learning_rate=5e-3, num_epochs=25, dropout=0.1)
    assert recall_at_10(model.fit(interactions), queries) >= 0.98
    assert recall_at_10(Popularity().fit(interactions), queries) <= 0.5


# The definition, written down slowly.


def norm(x: np.ndarray, gamma: np.ndarray, beta: np.ndarray) -> np.ndarray:
    centred = x - x.mean(axis=-1, keepdims=True)
    return centred / np.sqrt((centred**2).mean(axis=-1, keepdims=True) + 1e-6) * gamma + beta


def block_of(x: np.ndarray, weights: list[np.ndarray]) -> np.ndarray:
    (g1, b1, wq, bq, wk, bk, wv, bv, wo, bo, g2, b2, w1, c1, w2, c2) = weights
    query = norm(x, g1, b1)
    attended = np.zeros_like(x)
    for t in range(len(x)):
        attended[t] = bo
        for head in range(wq.shape[1]):
            q = query[t] @ wq[:, head] + bq[head]
            keys = [x[s] @ wk[:, head] + bk[head] for s in range(t + 1)]
            logits = np.array([q @ key for key in keys]) / np.sqrt(len(q))
            shares = np.exp(logits) / np.exp(logits).sum()
            value = sum(shares[s] * (x[s] @ wv[:, head] + bv[head]) for s in range(t + 1))
            attended[t] += value @ wo[head]
    y = norm(query + attended, g2, b2)
    return y + np.maximum(y @ w1 + c1, 0.0) @ w2 + c2


def states_by_definition(model: Sasrec, history: Sequence[int]) -> np.ndarray:
    """Returns the output at every position of one history without padding."""
    items, positions, *rest = [w.numpy().astype(np.float64) for w in model.network.weights]
    ages = np.arange(len(history))[::-1]
    x = items[list(history)] * np.sqrt(items.shape[1]) + positions[ages]
    blocks = [rest[i : i + 16] for i in range(0, len(rest) - 2, 16)]
    for weights in blocks:
        x = block_of(x, weights)
    return norm(x, *rest[-2:])


def test_scores_are_those_of_the_published_network(
    small: Sasrec, make_queries: MakeQueries
) -> None:
    histories = [[3], [0, 1, 2], [5, 2, 4, 1, 0]]
    items = small.network.items.numpy().astype(np.float64)
    wanted = [states_by_definition(small, history)[-1] @ items.T for history in histories]
    scores = small.score(make_queries(histories))
    assert scores.dtype == np.float32 and scores.shape == (3, 7)
    np.testing.assert_allclose(scores, wanted, rtol=0, atol=1e-5)


def test_the_loss_is_the_cross_entropy_of_every_next_item_over_the_whole_corpus(
    small: Sasrec,
) -> None:
    items = small.network.items.numpy().astype(np.float64)
    losses = []
    for window in ([0, 1, 2, 3], [4, 1]):
        for state, target in zip(states_by_definition(small, window[:-1]), window[1:], strict=True):
            logits = items @ state
            losses.append(np.log(np.exp(logits).sum()) - logits[target])
    padded = tf.constant([[0, 1, 2, 3], [-1, -1, 4, 1]])
    found = small.network.sampled_softmax_loss(padded, tf.range(7))
    assert float(found) == pytest.approx(np.mean(losses), abs=1e-5)


def test_drawn_negatives_stand_for_the_corpus_on_average(small: Sasrec) -> None:
    """The sum of exponentials is met in expectation over all draws of three of the seven items."""
    windows = tf.constant([[2, 6]])
    items = small.network.items.numpy().astype(np.float64)
    logits = items @ states_by_definition(small, [2])[-1]
    sums = []
    for drawn in itertools.combinations(range(7), 3):
        loss = float(small.network.sampled_softmax_loss(windows, tf.constant(drawn)))
        sums.append(np.exp(loss + logits[6]))
    assert np.mean(sums) == pytest.approx(np.exp(logits).sum(), rel=1e-4)


# What it may look at.


def test_no_position_sees_a_later_item(small: Sasrec) -> None:
    found = small.network(tf.constant([[0, 1, 2, 3], [0, 1, 5, 4]])).numpy()
    np.testing.assert_allclose(found[0, :2], found[1, :2], atol=1e-6)
    assert np.abs(found[0, 2] - found[1, 2]).max() > 1e-3


def test_padding_changes_nothing(small: Sasrec, make_queries: MakeQueries) -> None:
    alone = small.network(tf.constant([[1, 2]])).numpy()
    padded = small.network(tf.constant([[-1, -1, -1, 1, 2]])).numpy()
    np.testing.assert_allclose(padded[:, -2:], alone, atol=1e-6)
    apart = np.concatenate([small.score(make_queries([h])) for h in ([3], [0, 1, 2, 4])])
    np.testing.assert_allclose(small.score(make_queries([[3], [0, 1, 2, 4]])), apart, atol=1e-6)


def test_of_a_long_history_the_newest_items_count(small: Sasrec, make_queries: MakeQueries) -> None:
    long, newest = small.score(make_queries([[4, 4, 4, 0, 1, 2, 3, 5], [0, 1, 2, 3, 5]]))
    np.testing.assert_allclose(long, newest, atol=1e-5)


def test_unknown_items_of_a_history_are_left_out(small: Sasrec, make_queries: MakeQueries) -> None:
    with_unknown, without = small.score(make_queries([[-1, 2, -1, 3], [2, 3]]))
    np.testing.assert_allclose(with_unknown, without, atol=1e-5)


def test_an_empty_history_gets_the_popularity_order(
    small: Sasrec, make_queries: MakeQueries
) -> None:
    scores = small.score(make_queries([[], [-1], [2]]))
    counts = [3, 3, 3, 2, 1, 2, 0]
    assert scores[0].tolist() == scores[1].tolist() == counts
    assert scores[2].tolist() != counts


# Training.


def test_one_seed_gives_one_model(
    make_interactions: MakeInteractions, make_queries: MakeQueries
) -> None:
    interactions = make_interactions({"a": [0, 1, 2], "b": [2, 3], "c": [3, 1, 0]}, num_items=4)
    scores = [
        Sasrec(embedding_dim=8, num_blocks=1, num_epochs=3, num_negatives=2, seed=seed)
        .fit(interactions)
        .score(make_queries([[0, 1]]))
        for seed in (1, 1, 2)
    ]
    np.testing.assert_array_equal(scores[0], scores[1])
    assert np.abs(scores[0] - scores[2]).max() > 1e-3


def test_an_early_stop_keeps_the_best_pass_and_a_refit_as_long_is_the_same_model(
    make_interactions: MakeInteractions, make_queries: MakeQueries
) -> None:
    interactions = make_interactions({"a": [0, 1, 2], "b": [2, 3], "c": [3, 1, 0]}, num_items=4)
    figures = iter([0.0, 0.1, 0.3, 0.2, 0.3, 9.0])
    options: dict[str, Any] = {"embedding_dim": 8, "num_blocks": 1, "patience": 2}
    model = Sasrec(**options).fit_until_best(interactions, lambda: next(figures))
    assert model.num_epochs == 2 and next(figures) == 9.0  # stopped after the second in vain
    again = Sasrec(**options, num_epochs=2).fit(interactions)
    queries = make_queries([[0, 1], [3]])
    np.testing.assert_array_equal(model.score(queries), again.score(queries))


def test_without_two_items_in_any_history_the_model_still_answers(
    make_interactions: MakeInteractions, make_queries: MakeQueries
) -> None:
    model = Sasrec(embedding_dim=4, num_epochs=2).fit(make_interactions({"a": [1]}, num_items=2))
    assert np.isfinite(model.score(make_queries([[0], []]))).all()


def test_a_loss_that_is_no_number_is_told(make_interactions: MakeInteractions) -> None:
    interactions = make_interactions({"a": [0, 1, 2]}, num_items=3)
    with pytest.raises(DivergedError, match="baseline `sasrec` is .* Lower its `learning_rate`"):
        Sasrec(embedding_dim=4, num_epochs=9, learning_rate=1e38).fit(interactions)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"num_negatives": 0}, "`num_negatives` must be at least 1, got 0"),
        ({"patience": 0}, "`patience` must be at least 1, got 0"),
    ],
)
def test_settings_out_of_bounds_are_refused(options: dict[str, int], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Sasrec(**options)  # type: ignore[arg-type]


def test_heads_that_do_not_divide_the_width_are_refused(
    make_interactions: MakeInteractions,
) -> None:
    model = Sasrec(embedding_dim=8, num_heads=3)
    with pytest.raises(ValueError, match="`num_heads` must divide `embedding_dim`, got 3 heads"):
        model.fit(make_interactions({"a": [0, 1]}, num_items=2))
