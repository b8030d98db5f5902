"""Training interactions → padded batches of item sequences, near equal in length."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import polars as pl

from tfrec_llm.data.history_windows import history_windows
from tfrec_llm.data.length_buckets import length_buckets
from tfrec_llm.data.padding import left_padded
from tfrec_llm.data.time_gaps import UNKNOWN
from tfrec_llm.errors import DataError
from tfrec_llm.seeds import child_generator


@dataclass(frozen=True)
class SequenceBatch:
    """A batch of users.

    Attributes:
        sequences: int32 `(batch, length + 1)`, item numbers, oldest first, -1 padding on the left.
        user_rows: int32 `(batch,)`, row of the user's text features, -1 for a user without text.
        user_numbers: int32 `(batch,)`, place of the user among all users in the order of their ids.
        gaps: int32 `(batch, length + 1)`, the time between each item and the one before it, see
            `time_gaps`, 0 at padding; None where nobody asked for them.
    """

    sequences: np.ndarray
    user_rows: np.ndarray
    user_numbers: np.ndarray
    gaps: np.ndarray | None = None


class SequenceDataset:
    """The sequences to train on. A long history is cut into windows, so that all of it trains.

    Args:
        interactions: frame of `user_id`, `item_number`, `position`.
        max_history: int, items that a user tower sees at most.
        user_rows: user id → row of its text features, for users with a text.
        time_gaps: bool, whether batches have the column `gap` of the frame. Defaults to False.
        ordered: bool, whether the order of a history means anything. If not, each epoch draws
            another order of each window: any item of it may be foretold from any others. Defaults
            to True.

    Raises: DataError when gaps are asked for and there is no such column.

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
        *,
        time_gaps: bool = False,
        ordered: bool = True,
    ) -> None:
        if time_gaps and not ordered:
            raise DataError("Histories without an order have no gaps between their items.")
        self._ordered = ordered
        rows_of = user_rows or {}
        if time_gaps and "gap" not in interactions.columns:
            raise DataError(
                "The interactions have no times, so there are no gaps between them to learn from: "
                "name the column of times in data.columns.timestamp, or set towers.time_gaps to "
                "false."
            )
        columns = ["item_number", "gap"] if time_gaps else ["item_number"]
        grouped = (
            interactions.sort("position")
            .group_by("user_id", maintain_order=True)
            .agg(pl.col(columns).cast(pl.Int32))
            .sort("user_id")
        )
        self.windows: list[np.ndarray] = []
        self.gaps: list[np.ndarray] | None = [] if time_gaps else None
        rows: list[int] = []
        numbers: list[int] = []
        for number, (user_id, items, *others) in enumerate(grouped.iter_rows()):
            row = rows_of.get(user_id, -1)
            # A lone item teaches nothing by history, but a text can foretell it.
            if len(items) < 2 and row < 0:
                continue
            sequence = np.asarray(items, dtype=np.int32)
            for window in history_windows(sequence, max_history):
                self.windows.append(window)
                rows.append(row)
                numbers.append(number)
            if self.gaps is not None:
                self.gaps += history_windows(np.asarray(others[0], dtype=np.int32), max_history)
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
            windows = [self.windows[row] for row in rows]
            if not self._ordered:
                windows = [generator.permutation(window) for window in windows]
            yield SequenceBatch(
                sequences=left_padded(windows, min_length=2),
                user_rows=self.rows[rows],
                user_numbers=self.user_numbers[rows],
                gaps=self._padded_gaps(rows),
            )

    def _padded_gaps(self, rows: np.ndarray) -> np.ndarray | None:
        if self.gaps is None:
            return None
        return left_padded([self.gaps[row] for row in rows], min_length=2, fill=UNKNOWN)
