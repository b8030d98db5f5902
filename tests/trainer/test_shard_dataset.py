"""Batches and starts from shards are those from tables, but for the order of a shuffle."""

from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np
import polars as pl
import pytest

from tfrec_llm.data.shards import shard_reader
from tfrec_llm.data.shards.sharded_dataset import read_shards
from tfrec_llm.data.shards.streamed_interactions import StreamedInteractions, as_frame
from tfrec_llm.data.shards.write_shards import write_shards
from tfrec_llm.towers.starts import MAX_GAP, near_pairs
from tfrec_llm.trainer.sequences import SequenceDataset
from tfrec_llm.trainer.shard_dataset import ShardDataset
from tfrec_llm.trainer.shared_batches import sequences_of
from tfrec_llm.trainer.streamed_pairs import affordable_gap, streamed_near_pairs

NUM_ITEMS = 60
MAX_HISTORY = 4
TEXTS = {f"u{user:03d}": user for user in range(0, 200, 3)}


@pytest.fixture(scope="module")
def streamed(tmp_path_factory: pytest.TempPathFactory) -> StreamedInteractions:
    folder = tmp_path_factory.mktemp("shards")
    draw = np.random.default_rng(3)
    rows = [
        (f"u{user:03d}", f"i{item}")
        for user in range(200)
        for item in draw.choice(NUM_ITEMS, size=1 + user % 23, replace=False)
    ]
    items = [f"i{item}" for item in range(NUM_ITEMS)]
    pl.DataFrame({"item_id": items, "title": items}).write_csv(folder / "items.csv")
    clicks = pl.DataFrame(rows, schema=["user_id", "item_id"], orient="row")
    clicks.write_csv(folder / "clicks.csv")
    out = folder / "out"
    write_shards(folder / "items.csv", folder / "clicks.csv", None, out, num_shards=5)
    reader = read_shards(out).reader
    return StreamedInteractions(reader, NUM_ITEMS, num_held_out=2, cold_user_share=0.1, seed=7)


def windows(dataset: Any, batch_size: int = 8, **options: int) -> Counter[tuple[int, ...]]:
    """The row of a user's text and the items of each window, padding left out."""
    return Counter(
        (int(row), *(item for item in sequence if item >= 0))
        for batch in dataset.batches(batch_size, **{"seed": 7, "epoch": 1, **options})
        for sequence, row in zip(batch.sequences.tolist(), batch.user_rows, strict=True)
    )


@pytest.mark.parametrize("max_history", [1, 4, 7, 50])
def test_the_windows_are_those_of_the_table(
    streamed: StreamedInteractions, max_history: int
) -> None:
    whole = sequences_of(as_frame(streamed), max_history, TEXTS)
    ours = sequences_of(streamed, max_history, TEXTS)
    assert isinstance(whole, SequenceDataset) and isinstance(ours, ShardDataset)
    assert windows(ours) == windows(whole)
    assert len(ours) == len(whole)
    assert ours.num_batches(8) == whole.num_batches(8)


def test_without_order_the_windows_are_those_of_the_table_in_another_order(
    streamed: StreamedInteractions,
) -> None:
    def contents(dataset: Any) -> Counter[tuple[int, ...]]:
        return Counter((row, *sorted(items)) for row, *items in windows(dataset).elements())

    ordered = sequences_of(streamed, 7, TEXTS)
    mixed = sequences_of(streamed, 7, TEXTS, ordered=False)
    assert contents(mixed) == contents(ordered) and windows(mixed) != windows(ordered)
    whole = sequences_of(as_frame(streamed), 7, TEXTS, ordered=False)
    assert contents(whole) == contents(ordered) and windows(whole) != windows(ordered)


def order(dataset: ShardDataset, **options: int) -> list[list[list[int]]]:
    batches = dataset.batches(8, **{"seed": 7, "epoch": 1, **options})
    return [batch.sequences.tolist() for batch in batches]


def test_one_seed_and_epoch_give_the_same_batches(streamed: StreamedInteractions) -> None:
    first, second = (ShardDataset(streamed, MAX_HISTORY, TEXTS) for _ in range(2))
    assert order(first) == order(second) == order(first)
    assert len(order(first)) == first.num_batches(8)


@pytest.mark.parametrize("change", [{"epoch": 2}, {"seed": 8}])
def test_another_epoch_or_seed_gives_another_order(
    streamed: StreamedInteractions, change: dict[str, int]
) -> None:
    dataset = ShardDataset(streamed, MAX_HISTORY, TEXTS)
    assert order(dataset) != order(dataset, **change)
    assert windows(dataset) == windows(dataset, **change)


def test_batches_hold_histories_of_about_one_length(streamed: StreamedInteractions) -> None:
    batches = list(ShardDataset(streamed, 50).batches(8, seed=7, epoch=1))
    cells = sum(batch.sequences.size for batch in batches)
    assert sum(int((batch.sequences >= 0).sum()) for batch in batches) / cells > 0.8


def test_many_small_pools_lose_nothing(
    streamed: StreamedInteractions, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tfrec_llm.trainer.shard_dataset.POOL_BATCHES", 2)
    monkeypatch.setattr(shard_reader, "SHUFFLED_USERS", 16)
    dataset = ShardDataset(streamed, MAX_HISTORY, TEXTS)
    assert windows(dataset, 3) == windows(SequenceDataset(as_frame(streamed), MAX_HISTORY, TEXTS))
    assert len(list(dataset.batches(3, seed=7, epoch=1))) == dataset.num_batches(3)


def test_workers_have_as_many_batches_and_share_the_windows(
    streamed: StreamedInteractions,
) -> None:
    whole = windows(ShardDataset(streamed, MAX_HISTORY, TEXTS))
    workers = [
        ShardDataset(streamed, MAX_HISTORY, TEXTS, num_workers=2, worker=worker)
        for worker in range(2)
    ]
    assert len({dataset.num_batches(8) for dataset in workers}) == 1
    assert sum(map(len, workers)) == whole.total()
    found = [windows(dataset) for dataset in workers]
    for dataset in workers:
        assert len(list(dataset.batches(8, seed=7, epoch=1))) == dataset.num_batches(8)
    assert found[0] + found[1] <= whole
    assert (found[0] + found[1]).total() > 0.6 * whole.total()


@pytest.mark.parametrize("gap", [1, 3, MAX_GAP])
def test_near_pairs_of_a_stream_are_those_of_all_histories(
    streamed: StreamedInteractions, gap: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tfrec_llm.trainer.streamed_pairs._BATCH_USERS", 7)
    frame = as_frame(streamed)
    histories = [
        np.asarray(items) for items in frame.group_by("user_id").agg("item_number")["item_number"]
    ]
    expected = near_pairs(histories, NUM_ITEMS, gap).toarray()
    np.testing.assert_allclose(streamed_near_pairs(streamed, gap).toarray(), expected, rtol=1e-12)


def test_the_gap_grows_with_the_memory(streamed: StreamedInteractions) -> None:
    def gap(memory: float) -> int:
        return affordable_gap(streamed, num_factors=8, feature_dim=16, memory_bytes=memory)

    found = [gap(memory) for memory in np.linspace(0, 2e5, 17)]
    assert found == sorted(found)
    assert found[0] == 0 and found[-1] == MAX_GAP
    assert any(0 < reached < MAX_GAP for reached in found)
