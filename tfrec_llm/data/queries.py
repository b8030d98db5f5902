"""Held-out cases as arrays: what is known of a user at query time, and what they took next."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Queries:
    """One row for each held-out (user, target) pair.

    Attributes:
        user_ids: list of n str.
        histories: n int32 arrays of item numbers, oldest first; may be empty.
        texts: n str, free text about the user, "" where there is none.
        targets: int32 `(n,)`, the item number that the user took next.
        is_cold_user: bool `(n,)`, True when the user has no interaction in training.
        gaps: n int32 arrays, in step with `histories`: the time between each item and the one
            before it, see `time_gaps`. None where no times are known.
    """

    user_ids: list[str]
    histories: list[np.ndarray]
    texts: list[str]
    targets: np.ndarray
    is_cold_user: np.ndarray
    gaps: list[np.ndarray] | None = None

    def __len__(self) -> int:
        return len(self.user_ids)

    def take(self, rows: np.ndarray | list[int]) -> Queries:
        """Returns the queries of the given rows, in that order."""
        return Queries(
            user_ids=[self.user_ids[i] for i in rows],
            histories=[self.histories[i] for i in rows],
            texts=[self.texts[i] for i in rows],
            targets=self.targets[rows],
            is_cold_user=self.is_cold_user[rows],
            gaps=None if self.gaps is None else [self.gaps[i] for i in rows],
        )

    def sample(self, most: int, generator: np.random.Generator) -> Queries:
        """Returns `most` queries drawn without repetition, in their order; all if no more."""
        if len(self) <= most:
            return self
        return self.take(np.sort(generator.choice(len(self), most, replace=False)))
