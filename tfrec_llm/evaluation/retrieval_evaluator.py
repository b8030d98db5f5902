"""Any recommender and held-out cases → metrics with intervals, by slice, and the lists."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from tfrec_llm.data.catalogue import Catalogue
from tfrec_llm.data.queries import Queries
from tfrec_llm.errors import UsageError
from tfrec_llm.evaluation.bootstrap import bootstrap_intervals
from tfrec_llm.evaluation.coverage import coverage_at_k
from tfrec_llm.evaluation.gini import gini_at_k
from tfrec_llm.evaluation.intra_list_distance import intra_list_distance_at_k
from tfrec_llm.evaluation.ndcg import ndcg_at_k
from tfrec_llm.evaluation.novelty import novelty_at_k
from tfrec_llm.evaluation.popularity_bias import popularity_bias_at_k
from tfrec_llm.evaluation.recall import recall_at_k
from tfrec_llm.evaluation.reciprocal_rank import reciprocal_rank
from tfrec_llm.evaluation.recommended_lists import check_queries, target_ranks, unseen_scores
from tfrec_llm.evaluation.recommender import Recommender
from tfrec_llm.evaluation.slices import query_slices
from tfrec_llm.evaluation.top_k import tie_order, top_k
from tfrec_llm.progress import Progress

LIST_LENGTH = 100

Metric = int | float | list[float] | None
Metrics = dict[str, Metric]


@dataclass(frozen=True)
class ModelResult:
    """What one model did on one set of queries.

    Attributes:
        name: str, the key of the model in reports.
        slices: for each slice its metrics: `users`, `queries`, `mrr`, and for each k `recall@k`,
            `ndcg@k`, `coverage@k`, `gini@k`, `novelty@k`, `popularity_bias@k`, with item vectors
            `intra_list_distance@k` too; `_ci95` after a name is its interval `[low, high]`,
            `_among_cold` the same ranked among cold items alone.
            A slice without queries has `{"users": 0, "queries": 0}` only.
        lists: int32 `(n, 100)`, item numbers, best first, -1 where nothing is left.
        ranks: int32 `(n,)`, place of the target in its list, 0 = best, -1 = not in it.
    """

    name: str
    slices: dict[str, Metrics]
    lists: np.ndarray = field(repr=False)
    ranks: np.ndarray = field(repr=False)


def evaluate_model(
    model: Recommender,
    queries: Queries,
    catalogue: Catalogue,
    training_counts: np.ndarray,
    *,
    ks: Sequence[int] = (10, 20, 100),
    bootstrap_samples: int = 1000,
    seed: int = 7,
    batch_size: int = 256,
    item_vectors: np.ndarray | None = None,
    progress: Progress | None = None,
) -> ModelResult:
    """Ranks the whole corpus for each query and measures where the target stands.

    The query's own history is left out of its ranking and equal scores are listed in an order
    that no model can know (see `tie_order`), so a constant model finds k targets in n items.
    The lists of 100 decide all metrics: they can be computed again from the lists alone.

    Args:
        model: scores the corpus; see `Recommender`.
        queries: n held-out cases.
        catalogue: the corpus.
        training_counts: int `(num_items,)`, interactions of each item in what the model was
            fitted on; says which items are cold and which are the tail.
        ks: ints in 1..100, lengths at which lists are cut.
        bootstrap_samples: int, draws for the 95 % intervals, over users.
        seed: int, of the draws; models evaluated with one seed are drawn alike.
        batch_size: int, queries scored at once; metrics do not depend on it.
        item_vectors: float `(num_items, D)`, by which the items of a list are compared; give all
            models the same. None leaves `intra_list_distance@k` out.
        progress: told of each batch.

    Returns: `ModelResult`.

    Raises:
        UsageError: when `ks` is empty or a k is outside 1..100.
        DataError: when a target stands in its own history or is not in the corpus.
        TfrecLlmError: when the model gives NaN, infinity or another shape.

    Example:
        >>> import polars as pl
        >>> ids = ["a", "b", "c"]
        >>> catalogue = Catalogue(pl.DataFrame({"item_id": ids, "title": ids, "text": ids}))
        >>> class ByNumber:
        ...     name = "by_number"
        ...     def score(self, queries):
        ...         return np.tile(np.arange(3, dtype=np.float32), (len(queries), 1))
        >>> queries = Queries(["u"], [np.array([2])], [""], np.array([1]), np.array([False]))
        >>> result = evaluate_model(ByNumber(), queries, catalogue, np.array([1, 1, 1]), ks=[1])
        >>> result.slices["all"]["recall@1"], result.slices["cold_items"]
        (1.0, {'users': 0, 'queries': 0})
    """
    ks = sorted(set(ks))
    if not ks or ks[0] < 1 or ks[-1] > LIST_LENGTH:
        raise UsageError(
            f"`ks` must be one or more whole numbers from 1 to {LIST_LENGTH}, got {list(ks)}."
        )
    counts = np.asarray(training_counts)
    if counts.shape != (len(catalogue),):
        raise ValueError(
            f"`training_counts` must hold one count for each of the {len(catalogue)} items, got "
            f"the shape {counts.shape}."
        )
    check_queries(queries, len(catalogue))

    order = tie_order(catalogue.item_ids)
    cold_order = order[counts[order] == 0]
    masks = query_slices(queries, counts, order)
    has_cold_target = masks["cold_items"]
    lists = np.full((len(queries), LIST_LENGTH), -1, dtype=np.int32)
    lists_among_cold = np.full_like(lists, -1)
    for rows, scores in unseen_scores(
        model, queries, len(catalogue), batch_size=batch_size, progress=progress
    ):
        lists[rows] = top_k(scores, LIST_LENGTH, order)
        cold = has_cold_target[rows]
        if cold.any():
            lists_among_cold[rows[cold]] = top_k(scores[cold], LIST_LENGTH, cold_order)
    ranks = target_ranks(lists, queries.targets)
    ranks_among_cold = target_ranks(lists_among_cold, queries.targets)

    slices: dict[str, Metrics] = {}
    for name, mask in masks.items():
        rows = np.flatnonzero(mask)
        user_ids = [queries.user_ids[i] for i in rows]
        metrics: Metrics = {"users": len(set(user_ids)), "queries": len(rows)}
        if len(rows):
            metrics |= _accuracy(ranks[rows], user_ids, ks, bootstrap_samples, seed)
            if name == "cold_items":
                among_cold = _accuracy(
                    ranks_among_cold[rows], user_ids, ks, bootstrap_samples, seed
                )
                metrics |= {_among_cold(key): value for key, value in among_cold.items()}
            histories = [queries.histories[i] for i in rows]
            metrics |= _beyond_accuracy(lists[rows], histories, ks, counts, item_vectors)
        slices[name] = metrics
    return ModelResult(name=model.name, slices=slices, lists=lists, ranks=ranks)


def _accuracy(
    ranks: np.ndarray, user_ids: list[str], ks: Sequence[int], samples: int, seed: int
) -> Metrics:
    columns = {"mrr": reciprocal_rank(ranks)}
    for k in ks:
        columns[f"recall@{k}"] = recall_at_k(ranks, k)
        columns[f"ndcg@{k}"] = ndcg_at_k(ranks, k)
    values = np.stack(list(columns.values()), axis=1)
    intervals = bootstrap_intervals(values, user_ids, samples=samples, seed=seed)
    metrics: Metrics = {}
    for name, mean, interval in zip(columns, values.mean(axis=0), intervals, strict=True):
        metrics[name] = float(mean)
        metrics[f"{name}_ci95"] = [float(end) for end in interval]
    return metrics


def _beyond_accuracy(
    lists: np.ndarray,
    histories: list[np.ndarray],
    ks: Sequence[int],
    counts: np.ndarray,
    item_vectors: np.ndarray | None,
) -> Metrics:
    metrics: Metrics = {}
    for k in ks:
        metrics[f"coverage@{k}"] = coverage_at_k(lists, k, len(counts))
        metrics[f"gini@{k}"] = gini_at_k(lists, k, len(counts))
        metrics[f"novelty@{k}"] = novelty_at_k(lists, k, counts)
        metrics[f"popularity_bias@{k}"] = popularity_bias_at_k(lists, k, histories, counts)
        if item_vectors is not None:
            metrics[f"intra_list_distance@{k}"] = intra_list_distance_at_k(lists, k, item_vectors)
    return metrics


def _among_cold(key: str) -> str:
    name, interval, _ = key.partition("_ci95")
    return f"{name}_among_cold{interval}"
