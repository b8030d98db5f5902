"""Shards → what is trained on, and a sample of what is held out, in one pass."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from tfrec_llm.data.queries import Queries
from tfrec_llm.data.shards.shard_reader import Histories
from tfrec_llm.data.shards.sharded_dataset import ShardedDataset
from tfrec_llm.data.shards.streamed_interactions import (
    LEAST_TO_HOLD_OUT,
    StreamedInteractions,
    is_cold_user,
)
from tfrec_llm.data.shards.user_draw import user_draws
from tfrec_llm.data.splits import Split
from tfrec_llm.errors import DataError

_TEST, _VALIDATION = 1, 2  # place of the target, from the end


def split_shards(
    dataset: ShardedDataset,
    *,
    cold_user_share: float = 0.05,
    max_validation: int = 4000,
    max_test: int = 10_000,
    seed: int = 7,
) -> Split:
    """Holds out a validation and a test part by leave-one-out, as `split` does.

    Training parts are streamed. Of the held-out cases a seeded sample is kept, drawn by a hash of
    the user's id, so that neither order nor number of the shards matters. Cold users are drawn by
    such a hash too, hence their number is only about the share.

    Args:
        dataset: the shards.
        cold_user_share: float in [0, 1), see `split`.
        max_validation: int >= 1, validation cases kept at most.
        max_test: int >= 1, test cases kept at most.
        seed: int, the seed of the run.

    Returns: `Split` whose `train` and `train_and_validation` are `StreamedInteractions`, cases in
        the order of user ids; `num_cases` says how many cases there were.

    Raises: DataError when the data has no order, or is too small to hold anything out.
    """
    if not dataset.has_order:
        raise DataError(
            f"protocol leave_one_out needs interactions in order, and {dataset.name} has none: "
            "name the column of times in data.columns.timestamp and write the shards again"
        )
    validation = _Sample(max_validation, _VALIDATION, cold_user_share, seed)
    test = _Sample(max_test, _TEST, cold_user_share, seed)
    for part in dataset.reader.histories():
        validation.add(part)
        test.add(part)
    for name, sample in (("validation", validation), ("test", test)):
        if not sample.num_cases:
            raise DataError(
                f"protocol leave_one_out leaves nothing for the {name}: it needs users with three "
                f"interactions or more, and {dataset.name} has none who is not a cold user"
            )
    texts = dict(dataset.users.select("user_id", "text").iter_rows())
    test_cases = test.queries(texts)
    cold_rows = np.flatnonzero(test_cases.is_cold_user).tolist()
    with_text = test_cases.take([row for row in cold_rows if test_cases.texts[row].strip()])
    nothing = np.empty(0, dtype=np.int32)
    num_items = dataset.items.height
    return Split(
        protocol="leave_one_out",
        train=StreamedInteractions(dataset.reader, num_items, 2, cold_user_share, seed),
        train_and_validation=StreamedInteractions(
            dataset.reader, num_items, 1, cold_user_share, seed
        ),
        validation=validation.queries(texts),
        test=test_cases,
        cold_item_numbers=nothing,
        cold_user_ids=frozenset(test_cases.user_ids[row] for row in cold_rows),
        text_only=replace(with_text, histories=[nothing] * len(with_text)),
        num_cases={"validation": validation.num_cases, "test": test.num_cases},
    )


class _Sample:
    """The cases with the smallest draws of all that come by."""

    def __init__(self, most: int, place: int, cold_user_share: float, seed: int) -> None:
        self.num_cases = 0
        self._most = most
        self._place = place
        self._cold_user_share = cold_user_share
        self._seed = seed
        self._limit = 1.0
        self._kept: list[tuple[float, str, np.ndarray, bool]] = []

    def add(self, part: Histories) -> None:
        is_cold = is_cold_user(part, self._cold_user_share, self._seed)
        is_case = part.lengths >= LEAST_TO_HOLD_OUT
        if self._place == _VALIDATION:
            is_case &= ~is_cold
        self.num_cases += int(is_case.sum())
        draws = user_draws(part.user_ids, self._seed, f"held out {self._place}")
        for row in np.flatnonzero(is_case & (draws < self._limit)):
            items = part.items[part.starts[row] : part.ends[row] - self._place + 1].copy()
            self._kept.append((draws[row], part.user_ids[row], items, bool(is_cold[row])))
        if len(self._kept) > 2 * self._most:
            self._cut()

    def _cut(self) -> None:
        self._kept.sort(key=lambda case: case[:2])
        del self._kept[self._most :]
        if len(self._kept) == self._most:
            self._limit = self._kept[-1][0]

    def queries(self, texts: dict[str, str]) -> Queries:
        self._cut()
        cases = sorted(self._kept, key=lambda case: case[1])
        return Queries(
            user_ids=[user_id for _, user_id, _, _ in cases],
            histories=[items[:-1] for _, _, items, _ in cases],
            texts=[texts.get(user_id, "") for _, user_id, _, _ in cases],
            targets=np.array([items[-1] for _, _, items, _ in cases], np.int32),
            is_cold_user=np.array([is_cold for *_, is_cold in cases], bool),
        )
