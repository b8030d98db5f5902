"""The whole evaluation on small corpora: values, slices, laws."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from tfrec_llm.data.catalogue import Catalogue
from tfrec_llm.data.queries import Queries
from tfrec_llm.errors import DataError, UsageError
from tfrec_llm.evaluation.retrieval_evaluator import evaluate_model

MakeQueries = Callable[..., Queries]
MakeCatalogue = Callable[..., Catalogue]
SMALL = {"bootstrap_samples": 20}


def test_a_perfect_model_has_1_everywhere(
    make_queries: MakeQueries, make_catalogue: MakeCatalogue, fixed_scores: Any
) -> None:
    result = evaluate_model(
        fixed_scores(np.eye(4, dtype=np.float32)),
        make_queries(range(4)),
        make_catalogue(4),
        np.ones(4),
        ks=[1, 3],
        **SMALL,
    )
    metrics = result.slices["all"]
    for name in ("recall@1", "recall@3", "ndcg@1", "ndcg@3", "mrr", "coverage@1"):
        assert metrics[name] == 1.0
    assert metrics["recall@1_ci95"] == [1.0, 1.0]


def test_a_target_below_the_list_counts_nothing(
    make_queries: MakeQueries, make_catalogue: MakeCatalogue, fixed_scores: Any
) -> None:
    scores = np.ones((1, 200), np.float32)
    scores[0, 5] = 0.0
    metrics = evaluate_model(
        fixed_scores(scores), make_queries([5]), make_catalogue(200), np.ones(200), **SMALL
    ).slices["all"]
    assert metrics["recall@100"] == metrics["mrr"] == metrics["ndcg@100"] == 0.0


def test_a_constant_model_finds_k_in_n_whichever_rows_are_popular(
    make_queries: MakeQueries, make_catalogue: MakeCatalogue, fixed_scores: Any
) -> None:
    """Targets follow popularity, and popularity the row number: plain row order would gain."""
    num_items, num_queries = 200, 4000
    generator = np.random.default_rng(0)
    share = 1.0 / np.arange(1, num_items + 1)
    recalls = []
    for corpus in range(8):
        targets = generator.choice(num_items, num_queries, p=share / share.sum())
        result = evaluate_model(
            fixed_scores(np.zeros((num_queries, num_items), np.float32)),
            make_queries(targets),
            make_catalogue([f"corpus {corpus}, item {i}" for i in range(num_items)]),
            np.ones(num_items),
            ks=[10],
            **SMALL,
        )
        recalls.append(result.slices["all"]["recall@10"])
    assert np.mean(recalls) == pytest.approx(10 / num_items, abs=0.03)
    assert share[:10].sum() / share.sum() > 0.45  # what row order would have given


def test_metrics_do_not_depend_on_batch_size_or_order_of_items(
    make_queries: MakeQueries, make_catalogue: MakeCatalogue, fixed_scores: Any
) -> None:
    generator = np.random.default_rng(2)
    scores = generator.integers(0, 3, (12, 30)).astype(np.float32)
    counts = generator.integers(0, 5, 30)
    targets = generator.integers(0, 15, 12)
    histories = generator.integers(15, 30, (12, 3))
    ids = [f"i{n}" for n in range(30)]
    plain = evaluate_model(
        fixed_scores(scores), make_queries(targets, histories), make_catalogue(ids), counts, **SMALL
    )
    row_of = generator.permutation(30)  # the new row of each old one
    old = np.argsort(row_of)
    moved = evaluate_model(
        fixed_scores(scores[:, old]),
        make_queries(row_of[targets], row_of[histories]),
        make_catalogue([ids[i] for i in old]),
        counts[old],
        batch_size=5,
        **SMALL,
    )
    assert moved.ranks.tolist() == plain.ranks.tolist()
    for name, metrics in plain.slices.items():
        for key, value in metrics.items():
            assert moved.slices[name][key] == pytest.approx(value), (name, key)


def test_cold_items_are_ranked_among_all_and_among_cold_alone(
    make_queries: MakeQueries, make_catalogue: MakeCatalogue, fixed_scores: Any
) -> None:
    scores = np.array([[9, 8, 1, 2], [9, 8, 1, 2]], np.float32)  # items 2 and 3 are cold
    metrics = evaluate_model(
        fixed_scores(scores),
        make_queries([3, 0]),
        make_catalogue(4),
        np.array([5, 5, 0, 0]),
        ks=[1, 3],
        **SMALL,
    ).slices["cold_items"]
    assert metrics["queries"] == 1
    assert (metrics["recall@1"], metrics["recall@1_among_cold"]) == (0.0, 1.0)
    assert (metrics["mrr"], metrics["mrr_among_cold"]) == (pytest.approx(1 / 3), 1.0)
    assert metrics["recall@1_among_cold_ci95"] == [1.0, 1.0]


def test_a_cold_item_of_the_history_takes_no_place_among_the_cold(
    make_queries: MakeQueries, make_catalogue: MakeCatalogue, fixed_scores: Any
) -> None:
    scores = np.array([[9, 3, 2]], np.float32)
    queries = make_queries([2], histories=[[1]])
    metrics = evaluate_model(
        fixed_scores(scores), queries, make_catalogue(3), np.array([4, 0, 0]), ks=[1], **SMALL
    ).slices["cold_items"]
    assert metrics["recall@1_among_cold"] == 1.0


def test_spread_and_distance_are_measured_in_every_slice(
    make_queries: MakeQueries, make_catalogue: MakeCatalogue, fixed_scores: Any
) -> None:
    scores = np.array([[9, 8, 1, 2], [9, 8, 1, 2]], np.float32)
    arguments = (fixed_scores(scores), make_queries([3, 0]), make_catalogue(4))
    counts = np.array([5, 5, 0, 0])
    vectors = np.array([[1.0, 0.0], [1.0, 0.0], [0.0, 1.0], [-1.0, 0.0]])
    result = evaluate_model(*arguments, counts, ks=[1, 3], item_vectors=vectors, **SMALL)
    for name in ("all", "cold_items"):
        metrics = result.slices[name]
        assert metrics["gini@1"] == 0.75  # one of four items has every place
        assert metrics["intra_list_distance@1"] is None
        assert metrics["intra_list_distance@3"] == pytest.approx((0 + 2 + 2) / 3)
    plain = evaluate_model(*arguments, counts, ks=[3], **SMALL).slices["all"]
    assert "gini@3" in plain and "intra_list_distance@3" not in plain


def test_an_empty_slice_says_only_that_it_is_empty(
    make_queries: MakeQueries, make_catalogue: MakeCatalogue, fixed_scores: Any
) -> None:
    catalogue, counts = make_catalogue(2), np.array([2, 9])
    model = fixed_scores(np.ones((1, 2), np.float32))
    slices = evaluate_model(model, make_queries([0]), catalogue, counts, **SMALL).slices
    assert slices["cold_items"] == slices["cold_users"] == {"users": 0, "queries": 0}
    slices = evaluate_model(model, make_queries([]), catalogue, counts, **SMALL).slices
    assert set(map(tuple, slices.values())) == {("users", "queries")}


def test_users_and_queries_are_counted_apart(
    make_queries: MakeQueries, make_catalogue: MakeCatalogue, fixed_scores: Any
) -> None:
    queries = make_queries([0, 1, 1], user_ids=["u0", "u0", "u1"])
    metrics = evaluate_model(
        fixed_scores(np.eye(2, dtype=np.float32)), queries, make_catalogue(2), np.ones(2), **SMALL
    ).slices["all"]
    assert (metrics["users"], metrics["queries"]) == (2, 3)


def test_a_user_who_took_nearly_everything_gets_a_short_list(
    make_queries: MakeQueries, make_catalogue: MakeCatalogue, fixed_scores: Any
) -> None:
    result = evaluate_model(
        fixed_scores(np.zeros((1, 3), np.float32)),
        make_queries([1], histories=[[0, 2]]),
        make_catalogue(3),
        np.ones(3),
        **SMALL,
    )
    assert result.lists[0, :2].tolist() == [1, -1]
    assert result.slices["all"]["recall@10"] == 1.0


def test_one_seed_gives_one_result(
    make_queries: MakeQueries, make_catalogue: MakeCatalogue, fixed_scores: Any
) -> None:
    scores = np.random.default_rng(0).random((40, 50), dtype=np.float32)
    arguments = (fixed_scores(scores), make_queries(range(40)), make_catalogue(50), np.ones(50))
    one, same = (evaluate_model(*arguments, seed=3, **SMALL).slices["all"] for _ in range(2))
    other = evaluate_model(*arguments, seed=4, **SMALL).slices["all"]
    assert one == same
    assert one["mrr"] == other["mrr"] and one["mrr_ci95"] != other["mrr_ci95"]


@pytest.mark.parametrize("ks", [[], [0], [101]])
def test_ks_outside_the_lists_are_refused(
    make_queries: MakeQueries, make_catalogue: MakeCatalogue, fixed_scores: Any, ks: list[int]
) -> None:
    with pytest.raises(UsageError, match="whole numbers from 1 to 100"):
        evaluate_model(
            fixed_scores(np.ones((1, 2))), make_queries([0]), make_catalogue(2), np.ones(2), ks=ks
        )


def test_counts_of_another_corpus_are_refused(
    make_queries: MakeQueries, make_catalogue: MakeCatalogue, fixed_scores: Any
) -> None:
    with pytest.raises(ValueError, match="one count for each of the 2 items"):
        evaluate_model(
            fixed_scores(np.ones((1, 2))), make_queries([0]), make_catalogue(2), np.ones(3)
        )


def test_a_target_in_its_history_is_refused(
    make_queries: MakeQueries, make_catalogue: MakeCatalogue, fixed_scores: Any
) -> None:
    with pytest.raises(DataError, match="stands in the history"):
        evaluate_model(
            fixed_scores(np.ones((1, 2))),
            make_queries([0], histories=[[0]]),
            make_catalogue(2),
            np.ones(2),
        )
