"""Shards → histories of users, streamed by tf.data."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from tfrec_llm.errors import CorruptFileError
from tfrec_llm.seeds import child_generator, child_seed

_CYCLE = 16
_BLOCK = 64
SHUFFLED_USERS = 32_768


@dataclass(frozen=True)
class Histories:
    """Some users and what they took.

    Attributes:
        user_ids: n str.
        items: int32, item numbers of all of them; user u has `items[starts[u]:ends[u]]`, oldest
            first.
        starts: int64 `(n,)`.
        ends: int64 `(n,)`.
    """

    user_ids: list[str]
    items: np.ndarray
    starts: np.ndarray
    ends: np.ndarray

    def __len__(self) -> int:
        return len(self.user_ids)

    def __iter__(self) -> Iterator[tuple[str, np.ndarray]]:
        """Yields user ids and int32 item numbers."""
        for user_id, start, end in zip(
            self.user_ids, self.starts.tolist(), self.ends.tolist(), strict=True
        ):
            yield user_id, self.items[start:end]

    @property
    def lengths(self) -> np.ndarray:
        """How many items each user has, int64 `(n,)`."""
        lengths: np.ndarray = self.ends - self.starts
        return lengths

    def taken(self) -> np.ndarray:
        """Returns the item numbers of all users, one after another, int32."""
        steps = np.zeros(len(self.items) + 1, np.int64)
        np.add.at(steps, self.starts, 1)
        np.add.at(steps, self.ends, -1)
        taken: np.ndarray = self.items[np.cumsum(steps[:-1]) > 0]
        return taken


class ShardReader:
    """Reads the shards of a folder.

    Args:
        folder: what `tfrec-llm shard` wrote.
        shards: names of the TFRecord files below it.
        num_workers: int >= 1, processes that share the shards. Worker w reads those whose number
            leaves the remainder w.
        worker: int in [0, num_workers).
    """

    def __init__(
        self, folder: str | Path, shards: Sequence[str], num_workers: int = 1, worker: int = 0
    ) -> None:
        if not 0 <= worker < num_workers <= max(1, len(shards)):
            raise ValueError(
                f"`worker` must be in [0, num_workers) and `num_workers` at most the number of "
                f"shards ({len(shards)}), got worker {worker} of {num_workers}."
            )
        self.folder = Path(folder)
        self.all_shards = list(shards)
        self.shards = self.all_shards[worker::num_workers]
        self.num_workers = num_workers

    def for_worker(self, num_workers: int, worker: int) -> ShardReader:
        """Returns a reader of the part of the shards that one of several processes reads."""
        return ShardReader(self.folder, self.all_shards, num_workers, worker)

    def histories(self, *, seed: int | None = None, batch_users: int = 4096) -> Iterator[Histories]:
        """Yields all users, some at a time.

        Args:
            seed: int, of the order: shards are opened in a random one, read side by side, and
                users are shuffled in a buffer of 32 768. The same seed gives the same order.
                None takes the order in which they were written.
            batch_users: int >= 1, users at a time.

        Raises: CorruptFileError when a record is not as it was written.
        """
        from tfrec_llm.keras_api import tf

        paths = [str(self.folder / shard) for shard in self.shards]
        if seed is None:
            records = tf.data.TFRecordDataset(paths)
        else:
            order = child_generator(seed, "shards").permutation(len(paths))
            records = tf.data.Dataset.from_tensor_slices([paths[i] for i in order]).interleave(
                tf.data.TFRecordDataset,
                cycle_length=min(_CYCLE, len(paths)),
                block_length=_BLOCK,
            )
            records = records.shuffle(SHUFFLED_USERS, seed=child_seed(seed, "users"))
        parsed = {
            "user_id": tf.io.FixedLenFeature([], tf.string),
            "item_numbers": tf.io.RaggedFeature(tf.int64, row_splits_dtype=tf.int64),
        }
        batches = records.batch(batch_users).map(lambda batch: tf.io.parse_example(batch, parsed))
        try:
            for batch in batches.prefetch(2):
                splits = batch["item_numbers"].row_splits.numpy()
                yield Histories(
                    user_ids=[user_id.decode() for user_id in batch["user_id"].numpy().tolist()],
                    items=batch["item_numbers"].values.numpy().astype(np.int32),
                    starts=splits[:-1],
                    ends=splits[1:],
                )
        except (tf.errors.DataLossError, tf.errors.InvalidArgumentError) as error:
            raise CorruptFileError(
                f"A shard of {self.folder} is not as it was written "
                f"({' '.join(str(error.message).split())[:200]}). Write the shards again."
            ) from error
