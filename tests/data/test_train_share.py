"""A share of the training interactions: what goes, and that nothing else does."""

from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tfrec_llm.data.catalogue import Catalogue
from tfrec_llm.data.queries import Queries
from tfrec_llm.data.raw_table import QUARANTINE_COLUMNS
from tfrec_llm.data.schema import INTERACTION_COLUMNS, USER_COLUMNS, Dataset, Quarantine
from tfrec_llm.data.splits import PROTOCOLS, Split, split
from tfrec_llm.errors import DataError, UsageError

ITEM_IDS = list("abcdefghij")
Histories = dict[str, list[str]]

_HISTORIES = st.dictionaries(
    st.sampled_from(list("uvwxyz")),
    st.lists(st.sampled_from(ITEM_IDS), min_size=1, max_size=7, unique=True),
    min_size=1,
    max_size=6,
)
_SHARES = st.floats(0.01, 1.0)


def dataset(histories: Histories) -> Dataset:
    rows = [
        (user, item, place, float(place), None)
        for user, items in histories.items()
        for place, item in enumerate(items)
    ]
    items = pl.DataFrame({"item_id": ITEM_IDS, "title": ITEM_IDS, "text": ITEM_IDS})
    return Dataset(
        name="generated",
        items=items,
        interactions=pl.DataFrame(rows, schema=INTERACTION_COLUMNS, orient="row"),
        users=pl.DataFrame(schema=USER_COLUMNS),
        has_order=True,
        sha256="",
        quarantine=Quarantine(pl.DataFrame(schema=QUARANTINE_COLUMNS)),
    )


def make_split(histories: Histories, **options: Any) -> Split | None:
    """Returns None for data that the protocol refuses."""
    data = dataset(histories)
    try:
        return split(data, Catalogue(data.items), **options)
    except DataError:
        return None


def rows(frame: pl.DataFrame) -> Counter[tuple[Any, ...]]:
    """The gap to the item before is left out: it is counted among what is kept."""
    return Counter(frame.drop("gap", strict=False).iter_rows())


def cases(queries: Queries) -> list[tuple[str, int]]:
    return list(zip(queries.user_ids, queries.targets.tolist(), strict=True))


def histories_of(queries: Queries) -> list[list[int]]:
    return [history.tolist() for history in queries.histories]


@settings(deadline=None, max_examples=60)
@given(histories=_HISTORIES, share=_SHARES, seed=st.integers(0, 3))
@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_only_training_interactions_go_and_nothing_is_invented(
    protocol: str, histories: Histories, share: float, seed: int
) -> None:
    whole = make_split(histories, protocol=protocol, seed=seed)
    part = make_split(histories, protocol=protocol, seed=seed, train_share=share)
    assert (whole is None) == (part is None)
    if whole is None or part is None:
        return
    assert part.train.height == max(1, round(share * whole.train.height))
    assert rows(part.train) <= rows(whole.train)
    dropped = rows(whole.train) - rows(part.train)
    assert rows(part.train_and_validation) == rows(whole.train_and_validation) - dropped
    assert part.train["position"].to_list() == [
        row[2] for row in whole.train.drop("gap", strict=False).iter_rows() if row not in dropped
    ]
    gone = {(user, item) for user, item, _ in dropped}
    for ours, theirs in ((part.validation, whole.validation), (part.test, whole.test)):
        assert cases(ours) == cases(theirs)
        assert histories_of(ours) == [
            [item for item in history if (user, item) not in gone]
            for user, history in zip(theirs.user_ids, histories_of(theirs), strict=True)
        ]
    np.testing.assert_array_equal(part.cold_item_numbers, whole.cold_item_numbers)


@settings(deadline=None, max_examples=40)
@given(histories=_HISTORIES, shares=st.tuples(_SHARES, _SHARES), seed=st.integers(0, 3))
@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_a_smaller_share_lies_within_a_larger_one(
    protocol: str, histories: Histories, shares: tuple[float, float], seed: int
) -> None:
    parts = [
        make_split(histories, protocol=protocol, seed=seed, train_share=s) for s in sorted(shares)
    ]
    if parts[0] is None or parts[1] is None:
        return
    assert rows(parts[0].train) <= rows(parts[1].train)
    assert rows(parts[0].train_and_validation) <= rows(parts[1].train_and_validation)


@settings(deadline=None, max_examples=30)
@given(histories=_HISTORIES, seed=st.integers(0, 3))
@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_the_whole_share_changes_nothing(protocol: str, histories: Histories, seed: int) -> None:
    plain = make_split(histories, protocol=protocol, seed=seed)
    whole = make_split(histories, protocol=protocol, seed=seed, train_share=1.0)
    if plain is None or whole is None:
        assert plain is whole
        return
    assert plain.train.equals(whole.train)
    assert plain.train_and_validation.equals(whole.train_and_validation)
    for ours, theirs in ((plain.validation, whole.validation), (plain.test, whole.test)):
        assert cases(ours) == cases(theirs) and histories_of(ours) == histories_of(theirs)
        assert ours.is_cold_user.tolist() == theirs.is_cold_user.tolist()


def test_a_user_who_lost_everything_is_asked_with_the_validation_item_alone() -> None:
    parts = make_split({u: list("abcd") for u in "uvwxyz"}, train_share=0.01, cold_user_share=0.0)
    assert parts is not None and parts.train.height == 1
    lengths = Counter(len(history) for history in parts.test.histories)
    assert lengths == {1: 5, 2: 1}
    assert Counter(len(history) for history in parts.validation.histories) == {0: 5, 1: 1}
    assert not parts.test.is_cold_user.any()  # their validation item is trained on in the refit


def test_cold_users_keep_their_history() -> None:
    parts = make_split({u: list("abcd") for u in "uvwxyz"}, train_share=0.01, cold_user_share=0.5)
    assert parts is not None and len(parts.cold_user_ids) == 3
    for user, history in zip(parts.test.user_ids, parts.test.histories, strict=True):
        if user in parts.cold_user_ids:
            assert history.tolist() == [0, 1, 2]


def test_what_is_dropped_does_not_depend_on_the_order_of_users() -> None:
    histories = {u: list("abcdef") for u in "uvwxyz"}
    first = make_split(histories, train_share=0.5)
    second = make_split(dict(reversed(histories.items())), train_share=0.5)
    assert first is not None and second is not None
    assert rows(first.train) == rows(second.train)


@pytest.mark.parametrize("share", [0.0, -0.5, 1.5, float("nan")])
def test_a_share_out_of_bounds_is_refused(share: float) -> None:
    with pytest.raises(UsageError, match=r"train_share must lie in \(0, 1\]"):
        make_split({"u": list("abc")}, train_share=share)
