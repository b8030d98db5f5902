"""The kinds of queries that are reported apart."""

from __future__ import annotations

import numpy as np

from tfrec_llm.data.queries import Queries

SLICES = ("all", "cold_items", "tail_items", "cold_users")
TAIL_SHARE = 0.2


def query_slices(
    queries: Queries, training_counts: np.ndarray, order: np.ndarray
) -> dict[str, np.ndarray]:
    """Returns for each slice which queries belong to it.

    - `all`: every query.
    - `cold_items`: the target has no training interaction.
    - `tail_items`: the target has one, and is among the least-clicked items that together hold
      at most the last 20 % of the training interactions.
    - `cold_users`: the user has no training interaction.

    Args:
        queries: n held-out cases.
        training_counts: int `(num_items,)`, interactions of each item in what the models were
            fitted on.
        order: int `(num_items,)`, see `tie_order`; of items with equal counts at the border of
            the tail the first ones belong to it.

    Returns: dict of bool `(n,)` under the names above.

    Example:
        >>> queries = Queries(["u"], [np.array([0])], [""], np.array([1]), np.array([True]))
        >>> masks = query_slices(queries, np.array([9, 1, 0]), np.array([0, 1, 2]))
        >>> {name: mask.tolist() for name, mask in masks.items()}
        {'all': [True], 'cold_items': [False], 'tail_items': [True], 'cold_users': [True]}
    """
    counts = np.asarray(training_counts)
    return {
        "all": np.ones(len(queries), dtype=bool),
        "cold_items": counts[queries.targets] == 0,
        "tail_items": _is_tail(counts, order)[queries.targets],
        "cold_users": np.asarray(queries.is_cold_user, dtype=bool),
    }


def _is_tail(counts: np.ndarray, order: np.ndarray) -> np.ndarray:
    least_first = order[np.argsort(counts[order], kind="stable")]
    held = np.cumsum(counts[least_first], dtype=np.int64)
    is_tail = np.zeros(len(counts), dtype=bool)
    is_tail[least_first] = held <= TAIL_SHARE * counts.sum()
    return is_tail & (counts > 0)
