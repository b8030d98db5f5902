from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from tfrec_llm.keras_api import tf
from tfrec_llm.retrieval.brute_force_index import BruteForceIndex
from tfrec_llm.retrieval.index_recall import index_recall
from tfrec_llm.retrieval.top_k_index import TopKIndex


class Fixed(TopKIndex):
    """An index that always gives the same answer."""

    kind = "fixed"
    is_exact = False
    answer: tuple[int, ...] = ()

    def search(self, queries: Any, k: Any) -> tuple[Any, Any]:
        numbers = tf.tile(tf.constant([self.answer]), [tf.shape(queries)[0], 1])[:, :k]
        return tf.zeros(tf.shape(numbers)), numbers


ROWS = np.diag([4.0, 3.0, 2.0, 1.0]).astype(np.float32)
QUERY = np.ones((2, 4), np.float32)


@pytest.mark.parametrize(
    ("answer", "recall"),
    [((0, 1), 1.0), ((1, 0), 1.0), ((0, 3), 0.5), ((2, 3), 0.0), ((0, 0), 0.5), ((-1, -1), 0.0)],
)
def test_recall_is_the_share_of_the_exact_best_that_was_found(
    answer: tuple[int, ...], recall: float
) -> None:
    index = Fixed(ROWS)
    index.answer = answer
    assert index_recall(index, QUERY, k=2) == recall


def test_ties_with_the_last_place_count_as_found() -> None:
    index = Fixed(np.ones((4, 4), np.float32))
    index.answer = (3, 2)
    assert index_recall(index, QUERY, k=2) == 1.0


def test_the_exact_index_has_full_recall_even_where_k_exceeds_the_corpus() -> None:
    assert index_recall(BruteForceIndex(ROWS), QUERY, k=100, batch_size=1) == 1.0


def test_k_below_one_is_refused() -> None:
    with pytest.raises(ValueError, match="`k` must be at least 1, got 0"):
        index_recall(BruteForceIndex(ROWS), QUERY, k=0)
