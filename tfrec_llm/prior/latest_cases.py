"""Validation cases → those that are nearest to what will be asked."""

from __future__ import annotations

import numpy as np

from tfrec_llm.data.queries import Queries


def latest_cases(queries: Queries, lateness: np.ndarray, fewest: int) -> Queries:
    """Returns the half of the cases whose newest known item stands latest.

    What is chosen on validation serves requests that come after the log. A case from the middle of
    it is answered with clicks of others who were there at the same time and later, which flatters
    whatever repeats what others did. A case at the end has hardly any, and a request none.

    Args:
        queries: validation cases.
        lateness: float `(num_items,)`, see `lateness`.
        fewest: int, cases that are kept in any case, as far as there are so many.

    Returns: `Queries`, in their order; those without a history count as earliest.

    Example:
        >>> targets, cold = np.zeros(2, np.int32), np.zeros(2, bool)
        >>> queries = Queries(["u", "v"], [np.array([1]), np.array([0])], ["", ""], targets, cold)
        >>> latest_cases(queries, np.array([-1.0, 1.0]), fewest=1).user_ids
        ['u']

    Reference: Ji et al., 2023, doi:10.1145/3569930 (what clicks of the future do to an evaluation)
    """
    known = [lateness[h[-1]] if len(h) else -np.inf for h in queries.histories]
    count = max((len(queries) + 1) // 2, min(len(queries), fewest))
    latest = np.argsort(-np.array(known), kind="stable")[:count]
    return queries.take(np.sort(latest))
