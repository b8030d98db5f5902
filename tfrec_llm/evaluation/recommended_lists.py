"""Scores of a model → ranked lists without what the user has seen."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from tfrec_llm.data.queries import Queries
from tfrec_llm.errors import DataError, TfrecLlmError
from tfrec_llm.evaluation.recommender import Recommender
from tfrec_llm.evaluation.top_k import top_k
from tfrec_llm.progress import Progress, Silent

_MOST_SCORES = 32_000_000  # 128 MB, held several times over


def recommended_lists(
    model: Recommender,
    queries: Queries,
    k: int,
    order: np.ndarray,
    *,
    batch_size: int = 256,
    progress: Progress | None = None,
) -> np.ndarray:
    """Returns for each query the `k` best items of the corpus, its own history left out.

    Args:
        model: scores the corpus.
        queries: n held-out cases.
        k: int >= 1, length of the lists.
        order: int `(num_items,)`, see `tie_order`.
        batch_size: int >= 1, queries scored at once, fewer of a large corpus; the answer does not
            depend on it.
        progress: told of each batch.

    Returns: int32 `(n, k)`, item numbers, best first, -1 where nothing is left.

    Raises: TfrecLlmError when the model gives another shape than asked for, NaN or infinity.

    Example:
        >>> class ByNumber:
        ...     name = "by_number"
        ...     def score(self, queries):
        ...         return np.tile(np.arange(3, dtype=np.float32), (len(queries), 1))
        >>> queries = Queries(["u"], [np.array([2])], [""], np.array([0]), np.array([False]))
        >>> recommended_lists(ByNumber(), queries, 3, np.arange(3)).tolist()
        [[1, 0, -1]]
    """
    lists = np.full((len(queries), k), -1, dtype=np.int32)
    for rows, scores in unseen_scores(
        model, queries, len(order), batch_size=batch_size, progress=progress
    ):
        lists[rows] = top_k(scores, k, order)
    return lists


def unseen_scores(
    model: Recommender,
    queries: Queries,
    num_items: int,
    *,
    batch_size: int = 256,
    progress: Progress | None = None,
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Yields `rows` int `(b,)` and their scores float32 `(b, num_items)`, history at -inf.

    Args:
        model: scores the corpus.
        queries: n held-out cases.
        num_items: int, size of the corpus.
        batch_size: int >= 1, queries scored at once; so many at most that there are no more than
            32 million scores at a time.
        progress: told of each batch.

    Raises: TfrecLlmError when the model gives another shape than asked for, NaN or infinity.

    Example:
        >>> class Zero:
        ...     name = "zero"
        ...     def score(self, queries):
        ...         return np.zeros((len(queries), 2), np.float32)
        >>> queries = Queries(["u"], [np.array([1])], [""], np.array([0]), np.array([False]))
        >>> [scores.tolist() for _, scores in unseen_scores(Zero(), queries, 2)]
        [[[0.0, -inf]]]
    """
    if batch_size < 1:
        raise ValueError(f"`batch_size` must be at least 1, got {batch_size}.")
    batch_size = max(1, min(batch_size, _MOST_SCORES // max(1, num_items)))
    progress = progress or Silent()
    for start in range(0, len(queries), batch_size):
        rows = np.arange(start, min(start + batch_size, len(queries)))
        batch = queries.take(rows)
        scores = _checked_scores(model, batch, num_items)
        lengths = [len(history) for history in batch.histories]
        seen = np.concatenate([np.asarray(h, dtype=np.int64) for h in batch.histories])
        row_of_seen = np.repeat(np.arange(len(rows)), lengths)
        known = seen >= 0
        scores[row_of_seen[known], seen[known]] = -np.inf
        yield rows, scores
        progress.advance(f"rank {model.name}", int(rows[-1]) + 1, len(queries))


def target_ranks(lists: np.ndarray, targets: np.ndarray) -> np.ndarray:
    """Returns the place of each target in its list.

    Args:
        lists: int `(n, length)`, item numbers, best first, -1 = nothing there.
        targets: int `(n,)`, item numbers.

    Returns: int32 `(n,)`, 0 = best, -1 = not in the list.

    Example:
        >>> target_ranks(np.array([[5, 7], [5, -1]]), np.array([7, 3])).tolist()
        [1, -1]
    """
    hits = lists == np.asarray(targets)[:, None]
    return np.where(hits.any(axis=1), hits.argmax(axis=1), -1).astype(np.int32)


def check_queries(queries: Queries, num_items: int) -> None:
    """Raises where a query cannot be answered rightly by anybody.

    Args:
        queries: n held-out cases.
        num_items: int, size of the corpus.

    Raises: DataError when a target or an item of a history is not in the corpus, or a target
        stands in its own history, where it can never be found.

    Example:
        >>> check_queries(
        ...     Queries(["u"], [np.array([0])], [""], np.array([0]), np.array([False])), 2)
        Traceback (most recent call last):
        ...
        tfrec_llm.errors.DataError: query 0 (user 'u'): the target, item number 0, stands in the...
    """
    for row, (user_id, history, target) in enumerate(
        zip(queries.user_ids, queries.histories, queries.targets, strict=True)
    ):
        where = f"query {row} (user {user_id!r})"
        if not 0 <= target < num_items:
            raise DataError(
                f"{where}: the target, item number {target}, is not in the corpus of {num_items} "
                "items. Leave out held-out cases of unknown items when splitting."
            )
        if len(history) and int(np.max(history)) >= num_items:
            raise DataError(
                f"{where}: the history holds item number {int(np.max(history))}, but the corpus "
                f"has {num_items} items. Make queries and corpus from the same items."
            )
        if target in history:
            raise DataError(
                f"{where}: the target, item number {target}, stands in the history, which is left "
                "out of the ranking. Keep the first of repeated (user, item) pairs when splitting."
            )


def _checked_scores(model: Recommender, batch: Queries, num_items: int) -> np.ndarray:
    given = np.asarray(model.score(batch))
    if given.shape != (len(batch), num_items):
        raise TfrecLlmError(
            f"model `{model.name}` gave scores of shape {given.shape} for {len(batch)} queries and "
            f"{num_items} items; they must be {(len(batch), num_items)}."
        )
    with np.errstate(over="ignore"):
        scores = np.array(given, dtype=np.float32)  # a copy: the model may keep its own
    if not np.isfinite(scores).all():
        row, column = np.argwhere(~np.isfinite(scores))[0]
        raise TfrecLlmError(
            f"model `{model.name}` gave item number {column} the score {scores[row, column]} for "
            f"user {batch.user_ids[row]!r}. Scores must be finite: look for a division by zero, an "
            "overflow in half precision or a training that diverged."
        )
    return scores
