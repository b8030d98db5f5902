"""Recency mean and causal attention against loops over positions, in NumPy."""

from __future__ import annotations

import numpy as np
import pytest

from tfrec_llm.testing.layer_checks import randomise
from tfrec_llm.towers.causal_transformer import CausalSelfAttention
from tfrec_llm.towers.recency_mean import RecencyMean


@pytest.fixture
def history() -> np.ndarray:
    return np.random.default_rng(9).normal(size=(3, 6, 4)).astype(np.float32)


@pytest.fixture
def mask() -> np.ndarray:
    return np.arange(6)[None, :] >= np.array([[0], [2], [5]])


@pytest.mark.parametrize("max_history", [3, 6, 10])
def test_recency_mean(history: np.ndarray, mask: np.ndarray, max_history: int) -> None:
    layer = RecencyMean(max_history, decay=0.8)
    found = np.asarray(layer(history, mask))
    for row in range(3):
        for newest in range(6):
            total = np.zeros(4)
            for place in range(newest + 1):
                age = newest - place
                if mask[row, place] and age < max_history:
                    total += 0.8**age * history[row, place]
            length = np.sqrt((total**2).sum())
            wanted = total / length if length > 0 else total
            np.testing.assert_allclose(found[row, newest], wanted, atol=1e-5)


@pytest.mark.parametrize("num_heads", [1, 2])
def test_causal_attention(history: np.ndarray, mask: np.ndarray, num_heads: int) -> None:
    dim, width, max_length = 4, 4 // num_heads, 4
    layer = CausalSelfAttention(num_heads, max_length)
    layer.build((None, None, dim))
    randomise(layer, seed=num_heads)
    found = np.asarray(layer(history, mask))
    kernel, offset = layer.project.kernel.numpy(), layer.project.bias.numpy()
    bias = layer.distance_bias.numpy()
    for row in range(3):
        projected = history[row] @ kernel + offset
        query, key, value = projected[:, :dim], projected[:, dim : 2 * dim], projected[:, 2 * dim :]
        for newest in np.flatnonzero(mask[row]):
            heads = []
            for head in range(num_heads):
                part = slice(head * width, (head + 1) * width)
                places = [p for p in range(newest + 1) if mask[row, p]]
                scores = [
                    float(query[newest, part] @ key[p, part]) / width**0.5
                    + float(bias[head, min(newest - p, max_length - 1)])
                    for p in places
                ]
                weights = np.exp(scores) / np.exp(scores).sum()
                heads.append(sum(w * value[p, part] for w, p in zip(weights, places, strict=True)))
            merged = np.concatenate(heads) @ layer.merge.kernel.numpy() + layer.merge.bias.numpy()
            np.testing.assert_allclose(found[row, newest], merged, atol=1e-5)
