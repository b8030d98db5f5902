"""Maximal marginal relevance and the determinantal process against their definitions."""

from __future__ import annotations

import math

import numpy as np
import pytest

from tfrec_llm.diversity.determinantal_point_process import DeterminantalPointProcess
from tfrec_llm.diversity.maximal_marginal_relevance import MaximalMarginalRelevance
from tfrec_llm.diversity.pick_greedily import pick_greedily
from tfrec_llm.diversity.similarity import unit_rows


def random_case(seed: int, n: int = 14, dim: int = 5) -> tuple[np.ndarray, np.ndarray]:
    generator = np.random.default_rng(seed)
    vectors = generator.normal(size=(n, dim))
    vectors[3] = vectors[1]  # two items that say the same
    vectors[5] = 0.0  # and one that says nothing
    return generator.random(n), vectors


def cosine(a: np.ndarray, b: np.ndarray) -> float:
    product = math.sqrt(float(a @ a)) * math.sqrt(float(b @ b))
    return float(a @ b) / product if product else 0.0


def mmr_by_definition(relevance: np.ndarray, vectors: np.ndarray, d: float, k: int) -> list[int]:
    picked: list[int] = []
    while len(picked) < k:
        best, best_value = -1, -math.inf
        for i in set(range(len(relevance))) - set(picked):
            likeness = max(((1 + cosine(vectors[i], vectors[j])) / 2 for j in picked), default=0.0)
            value = (1 - d) * relevance[i] - d * likeness
            if value > best_value:
                best, best_value = i, value
        picked.append(best)
    return picked


def objective(relevance: np.ndarray, vectors: np.ndarray, d: float, chosen: list[int]) -> float:
    kernel = np.array(
        [
            [1.0 if i == j else 0.999 * (1 + cosine(vectors[i], vectors[j])) / 2 for j in chosen]
            for i in chosen
        ]
    )
    sign, log_det = np.linalg.slogdet(kernel)
    assert sign > 0
    return float((1 - d) * relevance[chosen].sum() + d * log_det)


@pytest.mark.parametrize("diversity", [0.0, 0.2, 0.5, 0.9])
@pytest.mark.parametrize("seed", range(5))
def test_marginal_relevance_is_the_definition(seed: int, diversity: float) -> None:
    relevance, vectors = random_case(seed)
    gain = MaximalMarginalRelevance(relevance, unit_rows(vectors), diversity)
    expected = mmr_by_definition(relevance, vectors, diversity, k=10)
    assert pick_greedily(gain, k=10).tolist() == expected


@pytest.mark.parametrize("diversity", [0.0, 0.2, 0.5, 0.9])
@pytest.mark.parametrize("seed", range(5))
def test_each_determinantal_pick_raises_the_objective_most(seed: int, diversity: float) -> None:
    """Twelve picks in five dimensions: the list outgrows the vectors."""
    relevance, vectors = random_case(seed)
    gain = DeterminantalPointProcess(relevance, unit_rows(vectors), diversity)
    picked: list[int] = []
    for item in pick_greedily(gain, k=12).tolist():
        after = {
            i: objective(relevance, vectors, diversity, [*picked, i])
            for i in set(range(len(relevance))) - set(picked)
        }
        assert after[item] == pytest.approx(max(after.values()), abs=1e-9)
        picked.append(item)
    assert len(picked) == 12


def test_the_determinantal_gain_is_the_change_of_the_objective() -> None:
    relevance, vectors = random_case(9)
    gain = DeterminantalPointProcess(relevance, unit_rows(vectors), 0.4)
    for picked in ([2], [2, 7], [2, 7, 1], [2, 7, 1, 3]):
        gain.add(picked[-1])
        others = [i for i in range(len(relevance)) if i not in picked]
        now = objective(relevance, vectors, 0.4, picked)
        changes = [objective(relevance, vectors, 0.4, [*picked, i]) - now for i in others]
        assert gain.values[others] == pytest.approx(changes, abs=1e-8)
