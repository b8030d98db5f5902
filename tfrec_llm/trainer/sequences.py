"""Training interactions → padded batches of item sequences, near equal in length."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import polars as pl

from tfrec_llm.data.history_windows import history_windows
from tfrec_llm.data.length_buckets import length_buckets
from tfrec_llm.data.padding import left_padded
from tfrec_llm.seeds import child_generator


@dataclass(frozen=True)
class SequenceBatch:
    """A batch of users.

    Attributes:
        sequences: int32 `(batch, length + 1)`, item numbers, oldest first, -1 padding on the left.
        user_rows: int32 `(batch,)`, row of the user's text features, -1 for a user without text.
        user_numbers: int32 `(batch,)`, place of the user among all users in the order of their ids.
    """

    sequences: np.ndarray
    user_rows: np.ndarray
    user_numbers: np.ndarray


class SequenceDataset:
    """The sequences to train on. A long history is cut into windows, so that all of it trains.

    Args:
        interactions: frame of `user_id`, `item_number`, `position`.
        max_history: int, items that a user tower sees at most.
        user_rows: user id → row of its text features, for users with a text.

    Example:
        >>> frame = pl.DataFrame({"user_id": ["u", "u"], "item_number": [4, 2], "position": [0, 1]})
        >>> [b.sequences.tolist() for b in SequenceDataset(frame, 5).batches(2, seed=7, epoch=0)]
        [[[4, 2]]]
    """

    def __init__(
        self,
        interactions: pl.DataFrame,
        max_history: int,
        user_rows: dict[str, int] | None = None,
    ) -> None:
        rows_of = user_rows or {}
        grouped = (
            interactions.sort("position")
            .group_by("user_id", maintain_order=True)
            .agg(pl.col("item_number").cast(pl.Int32))
            .sort("user_id")
        )
        self.windows: list[np.ndarray] = []
        rows: list[int] = []
        numbers: list[int] = []
        for number, (user_id, items) in enumerate(grouped.iter_rows()):
            row = rows_of.get(user_id, -1)
            # A lone item teaches nothing by history, but a text can foretell it.
            if len(items) < 2 and row < 0:
                continue
            sequence = np.asarray(items, dtype=np.int32)
            for window in history_windows(sequence, max_history):
                self.windows.append(window)
                rows.append(row)
                numbers.append(number)
        self.rows = np.asarray(rows, dtype=np.int32)
        self.user_numbers = np.asarray(numbers, dtype=np.int32)
        self.lengths = np.asarray([len(w) for w in self.windows], dtype=np.int64)

    def __len__(self) -> int:
        return len(self.windows)

    @property
    def num_sequences(self) -> int:
        """Returns the number of sequences in an epoch."""
        return len(self.windows)

    def num_batches(self, batch_size: int) -> int:
        """Returns the number of batches in an epoch."""
        return -(-len(self.windows) // batch_size)

    def batches(self, batch_size: int, *, seed: int, epoch: int) -> Iterator[SequenceBatch]:
        """Yields an epoch: shuffled by seed and epoch, then bucketed by length.

        Args:
            batch_size: int, windows in a batch; the last one may be smaller.
            seed: int, of the run.
            epoch: int; the same seed and epoch give the same batches.
        """
        generator = child_generator(seed, "shuffle", epoch)
        for rows in length_buckets(self.lengths, batch_size, generator):
            yield SequenceBatch(
                sequences=left_padded([self.windows[row] for row in rows], min_length=2),
                user_rows=self.rows[rows],
                user_numbers=self.user_numbers[rows],
            )
