"""Streamed interactions → padded batches of item sequences, near equal in length."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from functools import cached_property

import numpy as np

from tfrec_llm.data.history_windows import history_windows
from tfrec_llm.data.length_buckets import POOL_BATCHES, length_buckets
from tfrec_llm.data.padding import left_padded
from tfrec_llm.data.shards.shard_reader import Histories
from tfrec_llm.data.shards.streamed_interactions import StreamedInteractions
from tfrec_llm.seeds import child_generator, child_seed
from tfrec_llm.trainer.sequences import SequenceBatch

_NO_NUMBER = -1


class ShardDataset:
    """What `SequenceDataset` is, for interactions that do not fit into memory.

    It has the same windows. Each epoch streams them in another order: users are shuffled in a
    buffer while shards are read side by side, then bucketed by length within pools of 32 batches.

    Args:
        interactions: `StreamedInteractions`.
        max_history: int, items that a user tower sees at most.
        user_rows: user id → row of its text features, for users with a text.
        num_workers: int >= 1, processes that train together. Each reads a part of the shards, and
            all have as many batches as the one with the fewest; which windows that leaves out is
            another matter in each epoch.
        worker: int in [0, num_workers), which of them this one is.
        ordered: bool, see `SequenceDataset`.
    """

    def __init__(
        self,
        interactions: StreamedInteractions,
        max_history: int,
        user_rows: dict[str, int] | None = None,
        *,
        num_workers: int = 1,
        worker: int = 0,
        ordered: bool = True,
    ) -> None:
        self._ordered = ordered
        self._parts = [interactions.for_worker(num_workers, w) for w in range(num_workers)]
        self._worker = worker
        self._max_history = max_history
        self._rows_of = user_rows or {}

    @cached_property
    def _num_windows(self) -> list[int]:
        """How many windows each worker has; one pass over the shards."""
        return [
            sum(int(self._windows_of(users).sum()) for users in part.histories())
            for part in self._parts
        ]

    def __len__(self) -> int:
        return self._num_windows[self._worker]

    @property
    def num_sequences(self) -> int:
        """Returns the number of sequences in an epoch, of all workers together."""
        return sum(self._num_windows)

    def num_batches(self, batch_size: int) -> int:
        """Returns the number of batches in an epoch, the same for every worker."""
        return min(-(-count // batch_size) for count in self._num_windows)

    def batches(self, batch_size: int, *, seed: int, epoch: int) -> Iterator[SequenceBatch]:
        """Yields an epoch.

        Args:
            batch_size: int, windows in a batch; one of them may be smaller.
            seed: int, of the run.
            epoch: int; the same seed and epoch give the same batches.
        """
        found = self._all_batches(batch_size, seed, epoch)
        return itertools.islice(found, self.num_batches(batch_size))

    def _all_batches(self, batch_size: int, seed: int, epoch: int) -> Iterator[SequenceBatch]:
        generator = child_generator(seed, "shuffle", epoch)
        pool_size = batch_size * POOL_BATCHES
        windows: list[np.ndarray] = []
        rows: list[int] = []
        for users in self._parts[self._worker].histories(child_seed(seed, "shuffle", epoch)):
            for user_id, items in users:
                row = self._rows_of.get(user_id, -1)
                if len(items) < 2 and row < 0:
                    continue
                found = history_windows(items, self._max_history)
                if not self._ordered:
                    found = [generator.permutation(window) for window in found]
                windows += found
                rows += [row] * len(found)
            while len(windows) >= pool_size:
                yield from _bucketed(windows[:pool_size], rows[:pool_size], batch_size, generator)
                del windows[:pool_size], rows[:pool_size]
        yield from _bucketed(windows, rows, batch_size, generator)

    def _windows_of(self, users: Histories) -> np.ndarray:
        """Returns how many windows each user has, as `history_windows` cuts them."""
        lengths = users.lengths
        counts: np.ndarray = -(-lengths // self._max_history)
        is_oldest_alone = (lengths > 1) & (lengths - self._max_history * (counts - 1) == 1)
        counts = counts - is_oldest_alone
        for row in np.flatnonzero(lengths < 2):
            counts[row] = int(self._rows_of.get(users.user_ids[row], -1) >= 0)
        return counts


def _bucketed(
    windows: list[np.ndarray], rows: list[int], batch_size: int, generator: np.random.Generator
) -> Iterator[SequenceBatch]:
    lengths = np.asarray([len(window) for window in windows], dtype=np.int64)
    all_rows = np.asarray(rows, dtype=np.int32)
    for places in length_buckets(lengths, batch_size, generator):
        yield SequenceBatch(
            sequences=left_padded([windows[place] for place in places], min_length=2),
            user_rows=all_rows[places],
            user_numbers=np.full(len(places), _NO_NUMBER, np.int32),
        )
