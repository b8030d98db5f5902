"""Interactions to train on that are never in memory as a whole."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import polars as pl

from tfrec_llm.data.shards.shard_reader import Histories, ShardReader
from tfrec_llm.data.shards.user_draw import user_draws
from tfrec_llm.errors import DataError

MOST_IN_MEMORY, MOST_ITEMS = 5_000_000, 200_000
LEAST_TO_HOLD_OUT = 3  # interactions of a user of whom some are held out


@dataclass(frozen=True)
class _Counts:
    num_clicks: np.ndarray
    num_users: int


@dataclass(frozen=True)
class StreamedInteractions:
    """The training part of shards, by the protocol leave-one-out.

    Attributes:
        reader: `ShardReader`.
        num_items: int.
        num_held_out: int, newest interactions of a user that are left out; 0 where a user has
            fewer than three.
        cold_user_share: float in [0, 1), of the users with three or more who are left out whole.
        seed: int, of the run.
    """

    reader: ShardReader
    num_items: int
    num_held_out: int
    cold_user_share: float
    seed: int

    def histories(self, seed: int | None = None, batch_users: int = 4096) -> Iterator[Histories]:
        """Yields what users took, without what is held out; see `ShardReader.histories`."""
        for part in self.reader.histories(seed=seed, batch_users=batch_users):
            yield self._training(part)

    @cached_property
    def _counts(self) -> _Counts:
        num_clicks, num_users = np.zeros(self.num_items, np.int64), 0
        for part in self.histories():
            num_clicks += np.bincount(part.taken(), minlength=self.num_items)
            num_users += len(part)
        return _Counts(num_clicks, num_users)

    @property
    def num_clicks(self) -> np.ndarray:
        """How often each item stands in them, int64 `(num_items,)`."""
        return self._counts.num_clicks

    @property
    def num_users(self) -> int:
        """How many users there are."""
        return self._counts.num_users

    @property
    def height(self) -> int:
        """How many interactions there are, as of a frame."""
        return int(self.num_clicks.sum())

    @property
    def fit_into_memory(self) -> bool:
        """Whether they and their items are so few that pairs of items may be looked at at once."""
        return self.num_items <= MOST_ITEMS and self.height <= MOST_IN_MEMORY

    def for_worker(self, num_workers: int, worker: int) -> StreamedInteractions:
        """Returns the part of them that one of several processes reads."""
        return replace(self, reader=self.reader.for_worker(num_workers, worker))

    def _training(self, part: Histories) -> Histories:
        has_enough = part.lengths >= LEAST_TO_HOLD_OUT
        is_cold = has_enough & is_cold_user(part, self.cold_user_share, self.seed)
        ends = part.ends - self.num_held_out * has_enough
        kept = np.flatnonzero(~is_cold)
        return Histories(
            [part.user_ids[row] for row in kept], part.items, part.starts[kept], ends[kept]
        )


Interactions = pl.DataFrame | StreamedInteractions


def fit_into_memory(interactions: Interactions) -> bool:
    """Says whether they are there, or may be, as a whole."""
    return isinstance(interactions, pl.DataFrame) or interactions.fit_into_memory


def is_cold_user(part: Histories, cold_user_share: float, seed: int) -> np.ndarray:
    """Says which users are drawn to be cold if they have enough interactions, bool `(n,)`."""
    if not cold_user_share:
        return np.zeros(len(part), bool)
    return user_draws(part.user_ids, seed, "cold users") < cold_user_share


def as_frame(interactions: Interactions) -> pl.DataFrame:
    """Returns interactions as a frame of `user_id`, `item_number` and `position`.

    Args:
        interactions: a frame, which comes back as it is, or streamed ones.

    Raises: DataError when there are too many for the memory.

    Example:
        >>> as_frame(pl.DataFrame({"user_id": ["u"]})).height
        1
    """
    if isinstance(interactions, pl.DataFrame):
        return interactions
    if not interactions.fit_into_memory:
        raise DataError(
            f"{interactions.height} interactions with {interactions.num_items} items are more than "
            f"the {MOST_IN_MEMORY} with {MOST_ITEMS} that are taken into memory at once, which was "
            "asked for here. Train without it, or on fewer users."
        )
    parts = [
        pl.DataFrame(
            {
                "user_id": np.repeat(np.asarray(part.user_ids, object), part.lengths).tolist(),
                "item_number": part.taken(),
                "position": np.concatenate([np.arange(n) for n in part.lengths]),
            },
            schema={"user_id": pl.String, "item_number": pl.Int32, "position": pl.Int64},
        )
        for part in interactions.histories()
    ]
    return pl.concat(parts).sort("user_id", "position")
