"""Figures from stored places of the targets, -1 where one is not among the first hundred."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from tfrec_llm.errors import UsageError
from tfrec_llm.evaluation.bootstrap import bootstrap_intervals
from tfrec_llm.evaluation.ndcg import ndcg_at_k
from tfrec_llm.evaluation.recall import recall_at_k

METRICS = {
    f"{name}@{k}": (function, k)
    for k in (10, 100)
    for name, function in (("ndcg", ndcg_at_k), ("recall", recall_at_k))
}


def in_slice(result: dict[str, Any], name: str) -> dict[str, Any]:
    """Returns a result whose test cases are those of one slice."""
    rows = result["slices"][name]
    kept = {key: [result[key][row] for row in rows] for key in ("users", "places")}
    return {**result, **kept}


def values_of(result: dict[str, Any], metric: str) -> np.ndarray:
    """Returns the metric of each test case, float64 `(n,)`."""
    function, k = METRICS[metric]
    return np.asarray(function(np.asarray(result["places"]), k), dtype=np.float64)


def mean_with_interval(
    results: Sequence[dict[str, Any]], metric: str, *, samples: int = 1000
) -> tuple[float, float, float]:
    """Returns mean and 95 % interval over users; results are of the same cell by several seeds."""
    values = np.concatenate([values_of(result, metric) for result in results])
    return _interval(values, [u for result in results for u in result["users"]], samples)


def difference_with_interval(
    results: Sequence[dict[str, Any]],
    others: Sequence[dict[str, Any]],
    metric: str,
    *,
    samples: int = 1000,
) -> tuple[float, float, float]:
    """Returns mean and 95 % interval of the paired difference `results` - `others`, seed by seed.

    Raises: UsageError when two results were not measured on the same test cases.
    """
    for ours, theirs in zip(results, others, strict=True):
        if ours["cases_sha256"] != theirs["cases_sha256"]:
            raise UsageError(
                f"{ours['name']} and {theirs['name']} were measured on different test cases, so "
                "they cannot be compared pair by pair. Measure both on the same data and seed."
            )
    values = np.concatenate(
        [
            values_of(ours, metric) - values_of(theirs, metric)
            for ours, theirs in zip(results, others, strict=True)
        ]
    )
    return _interval(values, [u for result in results for u in result["users"]], samples)


def _interval(values: np.ndarray, users: Sequence[int], samples: int) -> tuple[float, float, float]:
    low, high = bootstrap_intervals(values[:, None], users, samples=samples)[0]
    return float(values.mean()), float(low), float(high)


def figure(value: float, low: float, high: float, *, signed: bool = False) -> str:
    """Returns `.1234 (.1100–.1370)`; with signs for a difference."""
    form = "+.4f" if signed else ".4f"
    return f"{value:{form}} ({low:{form}} … {high:{form}})".replace("0.", ".")


def about(results: Sequence[dict[str, Any]]) -> str:
    """Returns one line on the data, seeds and cases that results of one data set come from."""
    data, protocol = results[0]["data"], results[0]["protocol"]
    digests = {result["data"]["sha256"] for result in results}
    if len(digests) != 1:
        raise UsageError(
            f"results on {data['name']} come from different tables (sha256 "
            f"{', '.join(sorted(d[:16] for d in digests))}); measure all of them on the same"
        )
    seeds = sorted({result["seed"] for result in results})
    return (
        f"**{data['name']}**, {protocol['split']}: {data['users']} users, {data['items']} items, "
        f"{data['interactions']} interactions, sha256 of the tables `{data['sha256'][:16]}…`, "
        f"seed {', '.join(map(str, seeds))}, {protocol['test_queries']} test cases"
    )
