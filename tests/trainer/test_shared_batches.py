"""Workers that read a part of the shards each get the batches of all."""

from __future__ import annotations

import threading
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import polars as pl
import pytest

from tfrec_llm.data.shards.sharded_dataset import read_shards
from tfrec_llm.data.shards.streamed_interactions import StreamedInteractions
from tfrec_llm.data.shards.write_shards import write_shards
from tfrec_llm.errors import UsageError
from tfrec_llm.trainer.replicas import Replicas
from tfrec_llm.trainer.sequences import SequenceBatch
from tfrec_llm.trainer.shard_dataset import ShardDataset
from tfrec_llm.trainer.shared_batches import SharedBatches, sequences_of

MAX_HISTORY = 4
TEXTS = {f"u{user:03d}": user for user in range(0, 90, 3)}


@pytest.fixture(scope="module")
def streamed(tmp_path_factory: pytest.TempPathFactory) -> StreamedInteractions:
    folder = tmp_path_factory.mktemp("shared")
    items = [f"i{item}" for item in range(30)]
    rows = [(f"u{user:03d}", items[(user + n) % 30]) for user in range(90) for n in range(user % 9)]
    pl.DataFrame({"item_id": items, "title": items}).write_csv(folder / "items.csv")
    clicks = pl.DataFrame(rows, schema=["user_id", "item_id"], orient="row")
    clicks.write_csv(folder / "clicks.csv")
    out = folder / "out"
    write_shards(folder / "items.csv", folder / "clicks.csv", None, out, num_shards=3)
    return StreamedInteractions(read_shards(out).reader, 30, 0, cold_user_share=0.0, seed=7)


class Worker:
    """A worker in a thread: what each gives is exchanged as between processes."""

    def __init__(self, worker: int, given: list[np.ndarray], barrier: threading.Barrier) -> None:
        self.num_workers, self.worker = len(given), worker
        self._given, self._barrier = given, barrier

    def from_each(self, own: np.ndarray) -> np.ndarray:
        self._given[self.worker] = own
        self._barrier.wait(timeout=60)
        received = np.concatenate(self._given)
        self._barrier.wait(timeout=60)
        return received


def epochs(streamed: StreamedInteractions, num_workers: int, **options: int) -> list[Any]:
    """The batches of an epoch as each worker has them."""
    given = [np.zeros(0, np.int32)] * num_workers
    barrier = threading.Barrier(num_workers)

    def epoch(worker: int) -> list[SequenceBatch]:
        workers = Worker(worker, given, barrier)
        dataset = sequences_of(streamed, MAX_HISTORY, TEXTS, workers)
        assert isinstance(dataset, SharedBatches)
        found = list(dataset.batches(8, **{"seed": 7, "epoch": 1, **options}))
        assert len(found) == dataset.num_batches(8)
        return found

    with ThreadPoolExecutor(num_workers) as pool:
        return list(pool.map(epoch, range(num_workers)))


def windows(batches: Any) -> Counter[tuple[int, ...]]:
    return Counter(
        (int(row), *(item for item in sequence if item >= 0))
        for batch in batches
        for sequence, row in zip(batch.sequences.tolist(), batch.user_rows, strict=True)
    )


@pytest.mark.parametrize("num_workers", [2, 3])
def test_all_workers_have_the_same_batches(
    streamed: StreamedInteractions, num_workers: int
) -> None:
    first, *others = epochs(streamed, num_workers)
    for other in others:
        for ours, theirs in zip(first, other, strict=True):
            np.testing.assert_array_equal(ours.sequences, theirs.sequences)
            np.testing.assert_array_equal(ours.user_rows, theirs.user_rows)


def test_a_batch_holds_windows_of_every_worker_each_once(streamed: StreamedInteractions) -> None:
    batches = epochs(streamed, 2)[0]
    own = [
        windows(
            ShardDataset(streamed, MAX_HISTORY, TEXTS, num_workers=2, worker=worker).batches(
                4, seed=7, epoch=1
            )
        )
        for worker in (0, 1)
    ]
    assert windows(batches) == own[0] + own[1]
    assert all(len(batch.sequences) <= 8 for batch in batches)
    assert len(batches[0].sequences) > 4  # not of one worker alone
    # What is left out is the end of a worker with more: less than a batch of its share here.
    everything = windows(ShardDataset(streamed, MAX_HISTORY, TEXTS).batches(8, seed=7, epoch=1))
    assert not windows(batches) - everything


def test_padding_is_as_wide_as_the_longest_window_and_stands_on_the_left(
    streamed: StreamedInteractions,
) -> None:
    for batch in epochs(streamed, 2)[0]:
        is_item = batch.sequences >= 0
        assert is_item[:, -1].all() and (np.diff(is_item.astype(int), axis=1) >= 0).all()
        assert batch.sequences.shape[1] == max(2, is_item.sum(axis=1).max())
        assert batch.sequences.dtype == batch.user_rows.dtype == np.int32


def test_another_epoch_has_another_order(streamed: StreamedInteractions) -> None:
    one, two = (epochs(streamed, 2, epoch=epoch)[0] for epoch in (1, 2))
    assert one[0].sequences.tolist() != two[0].sequences.tolist()


def test_one_worker_reads_all_by_itself(streamed: StreamedInteractions) -> None:
    assert isinstance(sequences_of(streamed, MAX_HISTORY, TEXTS, Replicas()), ShardDataset)
    own = np.arange(6, dtype=np.int32).reshape(2, 3)
    np.testing.assert_array_equal(Replicas().from_each(own), own)


def test_more_workers_than_shards_are_refused(streamed: StreamedInteractions) -> None:
    workers = Worker(0, [np.zeros(0, np.int32)] * 4, threading.Barrier(4))
    with pytest.raises(UsageError, match="4 workers cannot share the 3 shards"):
        sequences_of(streamed, MAX_HISTORY, TEXTS, workers)
