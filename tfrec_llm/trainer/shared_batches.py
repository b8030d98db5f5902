"""Batches of workers that each read a part of the shards → the batch of all of them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Protocol

import numpy as np

from tfrec_llm.data.shards.streamed_interactions import Interactions, StreamedInteractions
from tfrec_llm.errors import UsageError
from tfrec_llm.trainer.sequences import SequenceBatch, SequenceDataset
from tfrec_llm.trainer.shard_dataset import ShardDataset

_COLUMNS = 2  # beside the sequence: row of the text, number of the user


class _Workers(Protocol):
    num_workers: int
    worker: int

    def from_each(self, own: np.ndarray) -> np.ndarray:
        """Returns what each worker gives, one below the other."""


class SharedBatches:
    """Joins the batches of all workers, so that each shard is read by one of them alone.

    A batch is a few integers a user: what a worker read it sends to all others, and what follows
    is the same as where every worker read everything.

    Args:
        own: the windows of this worker's part of the shards.
        max_history: int, of the windows.
        workers: tells what the others have, see `Replicas`.
    """

    def __init__(self, own: ShardDataset, max_history: int, workers: _Workers) -> None:
        self._own = own
        self._width = max_history + 1
        self._workers = workers

    @property
    def num_sequences(self) -> int:
        """Returns the number of sequences in an epoch, of all workers together."""
        return self._own.num_sequences

    def num_batches(self, batch_size: int) -> int:
        """Returns the number of batches in an epoch, the same on every worker."""
        return self._own.num_batches(self._share_of(batch_size))

    def batches(self, batch_size: int, *, seed: int, epoch: int) -> Iterator[SequenceBatch]:
        """Yields an epoch.

        Args:
            batch_size: int, windows of all workers together, rounded up to a number that they can
                share equally; a batch may be smaller.
            seed: int, of the run.
            epoch: int; the same seed and epoch give the same batches.

        Raises: WorkerError when another worker does not answer.
        """
        share = self._share_of(batch_size)
        for batch in self._own.batches(share, seed=seed, epoch=epoch):
            rows, width = batch.sequences.shape
            sent = np.full((share, self._width + _COLUMNS), -1, np.int32)
            sent[:rows, self._width - width : self._width] = batch.sequences
            sent[:rows, self._width] = batch.user_rows
            sent[:rows, self._width + 1] = batch.user_numbers
            received = self._workers.from_each(sent)
            received = received[received[:, self._width - 1] >= 0]  # no window, no last item
            sequences = received[:, : self._width]
            longest = max(2, int((sequences >= 0).sum(axis=1).max()))
            yield SequenceBatch(
                sequences=np.ascontiguousarray(sequences[:, -longest:]),
                user_rows=np.ascontiguousarray(received[:, self._width]),
                user_numbers=np.ascontiguousarray(received[:, self._width + 1]),
            )

    def _share_of(self, batch_size: int) -> int:
        return -(-batch_size // self._workers.num_workers)


def sequences_of(
    interactions: Interactions,
    max_history: int,
    user_rows: dict[str, int] | None = None,
    workers: _Workers | None = None,
    *,
    time_gaps: bool = False,
    ordered: bool = True,
) -> SequenceDataset | ShardDataset | SharedBatches:
    """Returns the sequences to train on.

    Args:
        interactions: frame of `user_id`, `item_number`, `position`, or `StreamedInteractions`.
        max_history: int, items that a user tower sees at most.
        user_rows: user id → row of its text features, for users with a text.
        workers: those that train together; of streamed interactions each reads a part. A table
            is read by all of them. Defaults to None, this process alone.
        time_gaps: bool, whether batches have the gaps of the frame; those of shards have none.
        ordered: bool, whether the order of a history means anything, see `SequenceDataset`.

    Raises:
        UsageError: when there are fewer shards than workers, or they are asked for gaps.
        DataError: when a frame without times is.
    """
    if not isinstance(interactions, StreamedInteractions):
        return SequenceDataset(
            interactions, max_history, user_rows, time_gaps=time_gaps, ordered=ordered
        )
    if time_gaps:
        raise UsageError(
            "Shards are streamed without times: set towers.time_gaps to false, or train from "
            "tables."
        )
    if workers is None or workers.num_workers == 1:
        return ShardDataset(interactions, max_history, user_rows, ordered=ordered)
    num_shards = len(interactions.reader.all_shards)
    if num_shards < workers.num_workers:
        raise UsageError(
            f"{workers.num_workers} workers cannot share the {num_shards} shards of "
            f"{interactions.reader.folder}: each reads some of its own. Write more of them with "
            "tfrec-llm shard --shards, or start fewer workers."
        )
    own = ShardDataset(
        interactions,
        max_history,
        user_rows,
        num_workers=workers.num_workers,
        worker=workers.worker,
        ordered=ordered,
    )
    return SharedBatches(own, max_history, workers)
