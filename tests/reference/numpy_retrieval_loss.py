"""The sampled softmax of a retrieval model, written with loops over queries and candidates."""

from __future__ import annotations

import math

import numpy as np


def slot_chance(ids: list[int], num_queries: int, share: np.ndarray) -> list[float]:
    """Returns how likely each slot of a step is to hold the item that it holds."""
    num_items, num_uniform = sum(value > 0 for value in share), len(ids) - num_queries
    return [(num_queries * float(share[i]) + num_uniform / num_items) / len(ids) for i in ids]


def retrieval_loss(
    queries: np.ndarray,
    candidates: np.ndarray,
    ids: list[int],
    owners: list[int],
    share: np.ndarray,
    temperature: float,
    *,
    queue: tuple[np.ndarray, list[int], list[float]] | None = None,
    num_hard_negatives: int | None = None,
    false_negative_margin: float | None = None,
    label_smoothing: float = 0.0,
    debias_share: float = 0.0,
) -> float:
    """`queue`: embeddings, ids and slot chances of candidates of earlier steps."""
    num_queries = len(queries)
    chances = slot_chance(ids, num_queries, share)
    if queue is not None:
        candidates = np.concatenate([candidates, queue[0]])
        ids, chances = [*ids, *queue[1]], [*chances, *queue[2]]
    total = 0.0
    for i in range(num_queries):
        cosine = [float(queries[i] @ candidate) for candidate in candidates]
        weight = [math.exp(c / temperature) / p for c, p in zip(cosine, chances, strict=True)]
        negatives = []
        for j in range(len(candidates)):
            is_own = j < num_queries and owners[j] == owners[i]
            if not is_own and ids[j] != ids[i]:
                negatives.append(j)
        if false_negative_margin is not None:
            negatives = [j for j in negatives if cosine[j] <= cosine[i] + false_negative_margin]
        if num_hard_negatives is not None:
            negatives = sorted(negatives, key=lambda j: -weight[j])[:num_hard_negatives]
        rest = sum(weight[j] for j in negatives)
        if debias_share:
            rest = (rest - debias_share * len(negatives) * weight[i]) / (1.0 - debias_share)
            rest = max(rest, sum(math.exp(-1.0 / temperature) / chances[j] for j in negatives))
        label = {i: 1.0}
        if label_smoothing and negatives:
            spread = sum(1.0 / chances[j] for j in negatives)
            label = {j: label_smoothing / chances[j] / spread for j in negatives}
            label[i] = 1.0 - label_smoothing
        total -= sum(part * math.log(weight[j] / (weight[i] + rest)) for j, part in label.items())
    return total / num_queries


def numeric_gradient(function, point: np.ndarray, step: float = 1e-5) -> np.ndarray:
    gradient = np.zeros_like(point)
    for place in np.ndindex(point.shape):
        above, below = point.copy(), point.copy()
        above[place] += step
        below[place] -= step
        gradient[place] = (function(above) - function(below)) / (2 * step)
    return gradient
