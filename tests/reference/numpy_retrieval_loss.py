"""The sampled softmax of a retrieval model, written with loops over queries and candidates."""

from __future__ import annotations

import math

import numpy as np


def retrieval_loss(
    queries: np.ndarray,
    candidates: np.ndarray,
    ids: list[int],
    owners: list[int],
    share: np.ndarray,
    temperature: float,
) -> float:
    num_queries, num_candidates = len(queries), len(candidates)
    num_items = sum(value > 0 for value in share)
    num_uniform = num_candidates - num_queries
    total = 0.0
    for i in range(num_queries):
        exponentials = []
        for j in range(num_candidates):
            accidental = j != i and ids[j] == ids[i]
            own = j != i and j < num_queries and owners[j] == owners[i]
            if accidental or own:
                continue
            expected = num_queries * float(share[ids[j]]) + num_uniform / num_items
            chance = expected / num_candidates
            exponentials.append(
                (j, math.exp(float(queries[i] @ candidates[j]) / temperature) / chance)
            )
        total -= math.log(dict(exponentials)[i] / sum(value for _, value in exponentials))
    return total / num_queries


def numeric_gradient(function, point: np.ndarray, step: float = 1e-5) -> np.ndarray:
    gradient = np.zeros_like(point)
    for place in np.ndindex(point.shape):
        above, below = point.copy(), point.copy()
        above[place] += step
        below[place] -= step
        gradient[place] = (function(above) - function(below)) / (2 * step)
    return gradient
