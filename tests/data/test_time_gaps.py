from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tfrec_llm.data.time_gaps import NUM_BUCKETS, gap_buckets, gap_buckets_in_graph
from tfrec_llm.keras_api import tf

NOW = 1_700_000_000


@pytest.mark.parametrize(
    ("seconds", "bucket"),
    [(0, 1), (1, 2), (2, 2), (3, 3), (6, 3), (7, 4), (3600, 12), (86_400, 17)],
)
def test_a_bucket_is_one_more_than_the_floor_of_the_logarithm(seconds: int, bucket: int) -> None:
    assert gap_buckets(np.array([NOW, NOW + seconds])).tolist() == [0, bucket]


@pytest.mark.parametrize("power", range(1, 31))
def test_a_bucket_begins_at_a_power_of_two_less_one(power: int) -> None:
    found = gap_buckets(np.array([1, 2**power - 1, 1]))[1], gap_buckets([1, 2**power])[1]
    assert found == (power, power + 1)


def test_the_longest_gap_is_in_the_last_bucket() -> None:
    assert gap_buckets(np.array([1, 2.0**60]))[1] == NUM_BUCKETS - 1


def test_a_gap_beside_an_unknown_time_or_back_in_time_is_unknown() -> None:
    times = np.array([np.nan, NOW, NOW + 1, 0, NOW + 2, -5, NOW + 9, NOW + 8])
    assert gap_buckets(times).tolist() == [0, 0, 2, 0, 0, 0, 0, 0]


def test_the_first_item_of_each_user_has_no_gap() -> None:
    times = np.array([NOW, NOW + 1, NOW + 1, NOW + 4])
    assert gap_buckets(times, np.array([3, 3, 5, 5])).tolist() == [0, 2, 0, 3]


def test_a_fraction_of_a_second_is_left_out() -> None:
    assert gap_buckets(np.array([NOW + 0.9, NOW + 1.1])).tolist() == [0, 2]


@settings(max_examples=30, deadline=None)
@given(
    st.integers(0, 6).flatmap(
        lambda width: st.lists(
            st.lists(
                st.one_of(st.integers(-(2**63), 2**63 - 1), st.integers(0, 99)).map(
                    # Beyond 2**53 a float64 does not hold every second.
                    lambda time: time if abs(time) < 2**53 else time >> 10 << 10
                ),
                min_size=width,
                max_size=width,
            ),
            max_size=3,
        ).map(lambda rows: np.array(rows, np.int64).reshape(len(rows), width))
    )
)
def test_the_graph_gives_the_same_buckets(times: np.ndarray) -> None:
    in_graph = tf.function(
        gap_buckets_in_graph, input_signature=[tf.TensorSpec([None, None], tf.int64)]
    )
    found = in_graph(times).numpy()
    assert found.dtype == np.int32 and found.shape == times.shape
    for row, history in zip(found, times, strict=True):
        np.testing.assert_array_equal(row, gap_buckets(history))


def test_no_history_has_no_gaps() -> None:
    assert gap_buckets(np.empty(0)).shape == (0,)
