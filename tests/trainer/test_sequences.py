from __future__ import annotations

from collections import Counter

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tfrec_llm.errors import DataError
from tfrec_llm.trainer.sequences import SequenceDataset


def frame(histories: dict[str, list[int]]) -> pl.DataFrame:
    rows = [(u, item, place) for u, items in histories.items() for place, item in enumerate(items)]
    schema = {"user_id": pl.String, "item_number": pl.Int64, "position": pl.Int64}
    return pl.DataFrame(rows, schema=schema, orient="row")


def users(lengths: list[int]) -> dict[str, list[int]]:
    """Each item of each user is another one, so that it can be told where it went."""
    return {f"u{n:03d}": [1000 * n + i for i in range(size)] for n, size in enumerate(lengths)}


def all_batches(
    dataset: SequenceDataset, batch_size: int = 4, seed: int = 7, epoch: int = 1
) -> list[tuple[list[list[int]], list[int]]]:
    return [
        (batch.sequences.tolist(), batch.user_rows.tolist())
        for batch in dataset.batches(batch_size, seed=seed, epoch=epoch)
    ]


@settings(max_examples=40, deadline=None)
@given(st.lists(st.integers(1, 23), max_size=8), st.integers(1, 6), st.integers(1, 5))
def test_every_item_but_the_first_is_a_target_once_with_what_came_before_it(
    lengths: list[int], max_history: int, batch_size: int
) -> None:
    histories = users(lengths)
    dataset = SequenceDataset(frame(histories), max_history)
    targets: Counter[int] = Counter()
    for sequences, _ in all_batches(dataset, batch_size):
        assert len(sequences) <= batch_size
        for sequence in sequences:
            assert len(sequence) <= max_history + 1
            items = [i for i in sequence if i >= 0]
            assert sequence == [-1] * (len(sequence) - len(items)) + items
            whole = histories[f"u{items[0] // 1000:03d}"]
            begin = whole.index(items[0])
            assert whole[begin : begin + len(items)] == items  # a stretch of one history
            targets.update(items[1:])
    assert targets == Counter(i for items in histories.values() for i in items[1:])


def test_the_newest_item_stands_at_the_end_of_a_full_window() -> None:
    dataset = SequenceDataset(frame(users([8])), max_history=5)
    assert [w.tolist() for w in dataset.windows] == [[2, 3, 4, 5, 6, 7], [0, 1, 2]]


def test_a_lone_item_is_kept_only_where_a_text_can_foretell_it() -> None:
    histories = {"a": [4], "b": [5], "c": [6, 7]}
    dataset = SequenceDataset(frame(histories), 5, {"b": 0})
    assert sorted(w.tolist() for w in dataset.windows) == [[5], [6, 7]]
    rows = {tuple(w): row for w, row in zip(map(list, dataset.windows), dataset.rows, strict=True)}
    assert rows == {(5,): 0, (6, 7): -1}
    lone = all_batches(SequenceDataset(frame({"b": [5]}), 5, {"b": 0}))
    assert lone == [([[-1, 5]], [0])]  # a slot in front, so that it is a target


def test_every_window_of_a_user_has_the_row_of_their_text() -> None:
    dataset = SequenceDataset(frame(users([9, 4])), 3, {"u000": 5})
    of_first = {tuple(w) for w in map(list, dataset.windows) if w[0] < 1000}
    assert len(of_first) == 3
    for sequences, rows in all_batches(dataset, batch_size=2):
        for sequence, row in zip(sequences, rows, strict=True):
            assert row == (5 if max(sequence) < 1000 else -1)


def test_items_come_by_position_whatever_the_order_of_the_rows() -> None:
    table = frame(users([5, 3]))
    mixed = SequenceDataset(table.sample(fraction=1.0, shuffle=True, seed=3), 5)
    for found, wanted in zip(mixed.windows, SequenceDataset(table, 5).windows, strict=True):
        np.testing.assert_array_equal(found, wanted)


def test_one_seed_and_epoch_give_the_same_batches() -> None:
    lengths = np.random.default_rng(0).integers(2, 9, 60).tolist()
    first, second = (SequenceDataset(frame(users(lengths)), 4) for _ in range(2))
    assert all_batches(first) == all_batches(second)
    assert all_batches(first) == all_batches(first)  # reading does not use anything up


@pytest.mark.parametrize("change", [{"epoch": 2}, {"seed": 8}])
def test_another_epoch_or_seed_gives_another_order(change: dict[str, int]) -> None:
    dataset = SequenceDataset(frame(users([3] * 60)), 4)
    assert all_batches(dataset) != all_batches(dataset, **change)


@pytest.mark.parametrize("count", [0, 1, 4, 5, 200])
def test_the_number_of_batches_is_foretold(count: int) -> None:
    dataset = SequenceDataset(frame(users([3] * count)), 4)
    assert len(all_batches(dataset, batch_size=4)) == dataset.num_batches(4)
    assert len(dataset) == count


def test_batches_hold_histories_of_about_one_length() -> None:
    lengths = np.random.default_rng(1).integers(2, 20, 400).tolist()
    dataset = SequenceDataset(frame(users(lengths)), 50)
    cells = sum(np.size(s) for s, _ in all_batches(dataset, batch_size=16))
    assert sum(lengths) / cells > 0.8  # hardly any padding


def test_the_windows_of_a_long_history_keep_the_gaps_of_their_items() -> None:
    table = frame(users([8, 2])).with_columns(gap=pl.Series([*range(8), 0, 20], dtype=pl.Int32))
    dataset = SequenceDataset(table, 5, time_gaps=True)
    (batch,) = dataset.batches(8, seed=7, epoch=0)
    assert batch.gaps is not None and batch.gaps.dtype == np.int32
    found = {
        tuple(s): g for s, g in zip(batch.sequences.tolist(), batch.gaps.tolist(), strict=True)
    }
    assert found == {
        (2, 3, 4, 5, 6, 7): [2, 3, 4, 5, 6, 7],
        (-1, -1, -1, 0, 1, 2): [0, 0, 0, 0, 1, 2],
        (-1, -1, -1, -1, 1000, 1001): [0, 0, 0, 0, 0, 20],
    }


def test_batches_have_no_gaps_where_nobody_asked_for_them() -> None:
    table = frame(users([3])).with_columns(gap=pl.Series([0, 1, 2]))
    assert [b.gaps for b in SequenceDataset(table, 5).batches(8, seed=7, epoch=0)] == [None]


def test_gaps_of_interactions_without_times_are_refused() -> None:
    with pytest.raises(DataError, match=r"name the column of times in data\.columns\.timestamp"):
        SequenceDataset(frame(users([3])), 5, time_gaps=True)


def test_histories_without_order_are_drawn_in_another_order_each_epoch() -> None:
    table = frame(users([9, 4, 4]))
    dataset = SequenceDataset(table, 5, ordered=False)

    def sequences(epoch: int) -> list[list[int]]:
        return [s for batch, _ in all_batches(dataset, epoch=epoch) for s in batch]

    windows = sorted(sorted(window.tolist()) for window in SequenceDataset(table, 5).windows)
    for epoch in (1, 2):
        found = [[item for item in sequence if item >= 0] for sequence in sequences(epoch)]
        assert sorted(map(sorted, found)) == windows
    assert sorted(sequences(1)) != sorted(sequences(2)) and sequences(1) == sequences(1)
    lasts = {item[-1] for epoch in range(60) for item in sequences(epoch)} & set(range(2000, 2004))
    assert lasts == {2000, 2001, 2002, 2003}  # any item is foretold from the others


def test_histories_without_order_have_no_gaps() -> None:
    table = frame(users([3])).with_columns(gap=pl.Series([0, 1, 2]))
    with pytest.raises(DataError, match="without an order"):
        SequenceDataset(table, 5, time_gaps=True, ordered=False)
