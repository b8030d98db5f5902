"""Interactions → pairs of a user and an item, labelled 1 for taken and 0 for sampled."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl

from tfrec_llm.data.queries import Queries

_ROUNDS = 30


@dataclass(frozen=True)
class RankingPairs:
    """Pairs of a case and an item.

    Attributes:
        cases: what was known of the users, and when.
        rows: int32 `(num_pairs,)`, the case of each pair.
        items: int32 `(num_pairs,)`, item numbers.
        labels: float32 `(num_pairs,)`, 1 for the target of the case, 0 for a negative.
    """

    cases: Queries
    rows: np.ndarray
    items: np.ndarray
    labels: np.ndarray

    def __len__(self) -> int:
        return len(self.items)


def ranking_cases(
    interactions: pl.DataFrame, texts: Mapping[str, str], max_history: int
) -> Queries:
    """Returns a case for each interaction of which something was known before.

    Args:
        interactions: frame of `user_id`, `item_number`, `position`.
        texts: user id → free text, for users with a text.
        max_history: int >= 1, most recent items that a case keeps.

    Returns: cases whose histories hold only what the user took before the target. A first
        interaction is a case where the user has a text.

    Example:
        >>> frame = pl.DataFrame({"user_id": ["u", "u"], "item_number": [4, 2], "position": [0, 1]})
        >>> cases = ranking_cases(frame, {}, 5)
        >>> cases.histories[0].tolist(), cases.targets.tolist()
        ([4], [2])
    """
    ordered = interactions.sort("user_id", "position")
    users = ordered["user_id"].to_list()
    items = ordered["item_number"].to_numpy().astype(np.int32)
    is_first = [place == 0 or users[place] != users[place - 1] for place in range(len(users))]
    starts = np.maximum.accumulate(np.where(is_first, np.arange(len(users)), 0))
    kept = [i for i, user in enumerate(users) if not is_first[i] or texts.get(user)]
    return Queries(
        user_ids=[users[i] for i in kept],
        histories=[items[max(starts[i], i - max_history) : i] for i in kept],
        texts=[texts.get(users[i], "") for i in kept],
        targets=items[kept],
        is_cold_user=np.zeros(len(kept), bool),
    )


def sample_pairs(
    cases: Queries,
    own_items: Sequence[np.ndarray],
    owners: np.ndarray,
    num_items: int,
    generator: np.random.Generator,
    *,
    num_negatives: int = 4,
    hard_share: float = 0.0,
    candidates: np.ndarray | None = None,
) -> RankingPairs:
    """Joins each case's target with sampled negatives.

    Args:
        cases: n cases.
        own_items: for each owner the items that are never a negative of theirs. The targets and
            histories of their cases are none either, listed or not.
        owners: int `(n,)`, which owner each case belongs to.
        num_items: int, size of the corpus.
        generator: NumPy generator of the draws.
        num_negatives: int >= 0, drawn for each case; fewer where the corpus holds no others.
        hard_share: float in [0, 1], the chance of each negative to be drawn from `candidates`.
        candidates: int32 `(num_owners, C)`, what a retriever would offer each owner, -1 for
            nothing; needed when `hard_share` is above 0. Where none of them can be a negative,
            the draw is uniform.

    Returns: pairs, targets first.

    Example:
        >>> cases = Queries(["u"], [np.array([0])], [""], np.array([1]), np.array([False]))
        >>> pairs = sample_pairs(
        ...     cases, [np.array([0, 1])], np.array([0]), 3, np.random.default_rng(0),
        ...     num_negatives=2)
        >>> pairs.items.tolist(), pairs.labels.tolist()
        ([1, 2, 2], [1.0, 0.0, 0.0])
    """
    num_cases = len(cases)
    own = _own_keys(cases, own_items, owners, num_items)
    rows = np.repeat(np.arange(num_cases), num_negatives)
    owner_of = np.asarray(owners, np.int64)[rows]
    negatives = _uniform(generator, owner_of, own, num_items)
    if hard_share > 0.0 and candidates is not None and candidates.size:
        is_hard = generator.random(len(rows)) < hard_share
        hard = _from_candidates(generator, owner_of, own, num_items, candidates)
        negatives = np.where(is_hard & (hard >= 0), hard, negatives)
    found = negatives >= 0
    targets = np.asarray(cases.targets, np.int64)
    labels = np.concatenate([np.ones(num_cases), np.zeros(int(found.sum()))])
    return RankingPairs(
        cases=cases,
        rows=np.concatenate([np.arange(num_cases), rows[found]]).astype(np.int32),
        items=np.concatenate([targets, negatives[found]]).astype(np.int32),
        labels=labels.astype(np.float32),
    )


def _own_keys(
    cases: Queries, own_items: Sequence[np.ndarray], owners: np.ndarray, num_items: int
) -> np.ndarray:
    """Returns `owner * num_items + item` of what may not be drawn, sorted."""
    owners = np.asarray(owners, np.int64)
    keys = [owners * num_items + np.asarray(cases.targets, np.int64)]
    listed = [*enumerate(own_items), *zip(owners.tolist(), cases.histories, strict=True)]
    for owner, own in listed:
        numbers = np.asarray(own, np.int64)
        keys.append(owner * num_items + numbers[numbers >= 0])
    return np.unique(np.concatenate(keys))


def _is_own(keys: np.ndarray, own: np.ndarray) -> np.ndarray:
    if not len(own):
        return np.zeros(keys.shape, bool)
    places = np.minimum(np.searchsorted(own, keys), len(own) - 1)
    return np.asarray(own[places] == keys)


def _uniform(
    generator: np.random.Generator, owners: np.ndarray, own: np.ndarray, num_items: int
) -> np.ndarray:
    """Draws an item for each place that its owner does not have; -1 where there is no other."""
    drawn = generator.integers(num_items, size=len(owners))
    for _ in range(_ROUNDS):
        again = np.flatnonzero(_is_own(owners * num_items + drawn, own))
        if not len(again):
            return drawn
        drawn[again] = generator.integers(num_items, size=len(again))
    # Some owner has nearly all there is: look at the others one by one.
    for place in np.flatnonzero(_is_own(owners * num_items + drawn, own)):
        all_keys = owners[place] * num_items + np.arange(num_items)
        others = np.flatnonzero(~_is_own(all_keys, own))
        drawn[place] = generator.choice(others) if len(others) else -1
    return drawn


def _from_candidates(
    generator: np.random.Generator,
    owners: np.ndarray,
    own: np.ndarray,
    num_items: int,
    candidates: np.ndarray,
) -> np.ndarray:
    """Draws a candidate `(num_owners, C)` of each place's owner, -1 where none will do."""
    drawn = np.full(len(owners), -1, np.int64)
    for _ in range(_ROUNDS):
        open_rows = np.flatnonzero(drawn < 0)
        if not len(open_rows):
            break
        columns = generator.integers(candidates.shape[1], size=len(open_rows))
        picked = candidates[owners[open_rows], columns].astype(np.int64)
        usable = (picked >= 0) & ~_is_own(owners[open_rows] * num_items + picked, own)
        drawn[open_rows[usable]] = picked[usable]
    return drawn
