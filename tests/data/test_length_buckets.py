from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from tfrec_llm.data.length_buckets import length_buckets


@settings(max_examples=50, deadline=None)
@given(st.lists(st.integers(1, 9), max_size=300), st.integers(1, 5), st.integers(0, 9))
def test_every_sequence_is_in_one_batch(lengths: list[int], size: int, seed: int) -> None:
    batches = length_buckets(np.array(lengths, int), size, np.random.default_rng(seed))
    assert all(1 <= len(batch) <= size for batch in batches)
    assert sorted(int(row) for batch in batches for row in batch) == list(range(len(lengths)))


def test_little_of_a_batch_is_padding() -> None:
    generator = np.random.default_rng(0)
    lengths = generator.integers(2, 50, size=2000)
    batches = length_buckets(lengths, 16, generator)
    padded = sum(len(batch) * lengths[batch].max() for batch in batches)
    assert padded < 1.1 * lengths.sum()


def test_batches_come_in_another_order_each_time() -> None:
    generator, lengths = np.random.default_rng(0), np.arange(100)
    first, second = (length_buckets(lengths, 10, generator) for _ in range(2))
    assert [batch.tolist() for batch in first] != [batch.tolist() for batch in second]
