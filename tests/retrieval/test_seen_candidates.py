from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from tfrec_llm.keras_api import tf
from tfrec_llm.retrieval.seen_candidates import leave_out_seen

LOWEST = np.finfo(np.float32).min


@settings(deadline=None, max_examples=80)
@given(data=st.data(), batch=st.integers(0, 3), found=st.integers(0, 8), k=st.integers(0, 10))
def test_what_is_left_is_what_a_plain_loop_leaves(
    data: st.DataObject, batch: int, found: int, k: int
) -> None:
    num_seen = data.draw(st.integers(0, 6))
    seen = data.draw(_table(st.integers(-1, 9), batch, num_seen))
    rows = [data.draw(st.permutations(range(10)))[:found] for _ in range(batch)]
    for row in rows:  # fewer hits than columns
        hits = data.draw(st.integers(0, found))
        row[hits:] = [-1] * (found - hits)
    numbers = np.array(rows, np.int32).reshape(batch, found)
    scores = np.where(numbers >= 0, -np.arange(found, dtype=np.float32), LOWEST)

    left_scores, left = leave_out_seen(
        tf.constant(scores, tf.float32), tf.constant(numbers), tf.constant(seen), tf.constant(k)
    )

    assert left.shape == left_scores.shape == (batch, k)
    for row in range(batch):
        kept = [
            n for n in range(found) if numbers[row, n] >= 0 and numbers[row, n] not in seen[row]
        ]
        kept = kept[:k]
        padding = k - len(kept)
        assert left[row].numpy().tolist() == [*numbers[row, kept], *[-1] * padding]
        assert left_scores[row].numpy().tolist() == [*scores[row, kept], *[LOWEST] * padding]


def test_a_long_history_needs_no_table_of_all_pairs() -> None:
    # 10⁴ found × 10⁵ seen would be 10⁹ comparisons.
    found, seen = np.arange(10_000)[None], np.arange(1, 100_001)[None]
    _, left = leave_out_seen(
        tf.zeros((1, 10_000)), tf.constant(found, tf.int32), tf.constant(seen, tf.int32), 2
    )
    assert left.numpy().tolist() == [[0, -1]]


def _table(
    values: st.SearchStrategy[int], rows: int, columns: int
) -> st.SearchStrategy[np.ndarray]:
    flat = st.lists(values, min_size=rows * columns, max_size=rows * columns)
    return flat.map(lambda cells: np.array(cells, np.int32).reshape(rows, columns))
