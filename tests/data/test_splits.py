"""What the four protocols hold out: invariants on generated data, and cases worked by hand."""

from __future__ import annotations

import itertools
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from tfrec_llm.data.catalogue import Catalogue
from tfrec_llm.data.queries import Queries
from tfrec_llm.data.raw_table import QUARANTINE_COLUMNS
from tfrec_llm.data.readers import read_microlens, read_movielens
from tfrec_llm.data.schema import INTERACTION_COLUMNS, USER_COLUMNS, Dataset, Quarantine
from tfrec_llm.data.splits import PROTOCOLS, Split, split
from tfrec_llm.data.tables import read_tables
from tfrec_llm.errors import DataError, UsageError

ITEM_IDS = list("abcdefghij")
Histories = dict[str, list[str]]
Pairs = Counter[tuple[str, str]]


def _dataset(
    histories: Histories,
    times: dict[str, list[float]] | None = None,
    texts: dict[str, str] | None = None,
    has_order: bool = True,
) -> Dataset:
    rows = [
        (user, item, place, times[user][place] if times else None, None)
        for user, items in histories.items()
        for place, item in enumerate(items)
    ]
    items = pl.DataFrame({"item_id": ITEM_IDS, "title": ITEM_IDS, "text": ITEM_IDS})
    return Dataset(
        name="generated",
        items=items,
        interactions=pl.DataFrame(rows, schema=INTERACTION_COLUMNS, orient="row"),
        users=pl.DataFrame(list((texts or {}).items()), schema=USER_COLUMNS, orient="row"),
        has_order=has_order,
        sha256="",
        quarantine=Quarantine(pl.DataFrame(schema=QUARANTINE_COLUMNS)),
    )


def _split(data: Dataset, **settings_: Any) -> Split:
    return split(data, Catalogue(data.items), **settings_)


def _pairs(frame: pl.DataFrame) -> Pairs:
    return Counter((u, ITEM_IDS[i]) for u, i in frame.select("user_id", "item_number").iter_rows())


def _target_pairs(queries: Queries) -> Pairs:
    return Counter((u, ITEM_IDS[i]) for u, i in zip(queries.user_ids, queries.targets, strict=True))


def _cases(queries: Queries) -> dict[tuple[str, str], str]:
    """Returns (user, target) → history as one string, for reading by eye."""
    return {
        (u, ITEM_IDS[t]): "".join(ITEM_IDS[i] for i in h)
        for u, t, h in zip(queries.user_ids, queries.targets, queries.histories, strict=True)
    }


def _all_pairs(histories: Histories) -> Pairs:
    return Counter((user, item) for user, items in histories.items() for item in items)


_HISTORIES = st.dictionaries(
    st.sampled_from(list("uvwxyz")),
    st.lists(st.sampled_from(ITEM_IDS), min_size=1, max_size=6, unique=True),
    max_size=6,
)
_SHARES = st.sampled_from([0.0, 0.01, 0.3, 0.5, 0.99])
_SEEDS = st.integers(0, 5)


# Invariants by user: leave_one_out and random


@settings(deadline=None, max_examples=80)
@given(histories=_HISTORIES, share=_SHARES, seed=_SEEDS)
@pytest.mark.parametrize("protocol", ["leave_one_out", "random"])
def test_nothing_is_lost_or_repeated(
    protocol: str, histories: Histories, share: float, seed: int
) -> None:
    assume(any(len(items) >= 3 for items in histories.values()))
    parts = _split(_dataset(histories), protocol=protocol, cold_user_share=share, seed=seed)
    train, validation, test = map(_target_or_pairs, (parts.train, parts.validation, parts.test))
    cold = Counter(
        (user, ITEM_IDS[i])
        for user, history in zip(parts.test.user_ids, parts.test.histories, strict=True)
        if user in parts.cold_user_ids
        for i in history
    )
    assert train + validation + test + cold == _all_pairs(histories)
    assert _pairs(parts.train_and_validation) == train + validation


def _target_or_pairs(part: pl.DataFrame | Queries) -> Pairs:
    return _target_pairs(part) if isinstance(part, Queries) else _pairs(part)


@settings(deadline=None, max_examples=80)
@given(histories=_HISTORIES, share=_SHARES, seed=_SEEDS)
def test_leave_one_out_is_what_its_words_say(histories: Histories, share: float, seed: int) -> None:
    long = {user: items for user, items in histories.items() if len(items) >= 3}
    assume(long)
    parts = _split(_dataset(histories), cold_user_share=share, seed=seed)
    warm = {user: items for user, items in long.items() if user not in parts.cold_user_ids}
    assert warm
    assert parts.cold_user_ids <= set(long)
    assert _cases(parts.test) == {(u, i[-1]): "".join(i[:-1]) for u, i in long.items()}
    assert _cases(parts.validation) == {(u, i[-2]): "".join(i[:-2]) for u, i in warm.items()}
    expected = {u: i for u, i in histories.items() if u not in long}
    expected |= {u: i[:-2] for u, i in warm.items()}
    assert _pairs(parts.train) == _all_pairs(expected)
    cold = [user in parts.cold_user_ids for user in parts.test.user_ids]
    assert parts.test.is_cold_user.tolist() == cold
    assert not parts.validation.is_cold_user.any()


@settings(deadline=None, max_examples=80)
@given(histories=_HISTORIES, share=_SHARES, seed=_SEEDS)
def test_random_holds_out_one_test_and_one_validation_item_of_each_user(
    histories: Histories, share: float, seed: int
) -> None:
    long = {user: items for user, items in histories.items() if len(items) >= 3}
    assume(long)
    data = _dataset(histories, has_order=False)
    parts = _split(data, protocol="random", cold_user_share=share, seed=seed)
    assert sorted(parts.test.user_ids) == sorted(long)
    assert sorted(parts.validation.user_ids) == sorted(set(long) - parts.cold_user_ids)
    for (user, target), history in _cases(parts.test).items():
        assert history == "".join(i for i in long[user] if i != target)
    held_out = {user: target for user, target in _cases(parts.test)}
    for (user, target), history in _cases(parts.validation).items():
        assert history == "".join(i for i in long[user] if i not in (target, held_out[user]))


@settings(deadline=None, max_examples=40)
@given(histories=_HISTORIES)
@pytest.mark.parametrize("protocol", ["leave_one_out", "random"])
def test_without_three_interactions_of_a_user_nothing_can_be_held_out(
    protocol: str, histories: Histories
) -> None:
    short = {user: items[:2] for user, items in histories.items()}
    longest = max(map(len, short.values()), default=0)
    with pytest.raises(
        DataError, match=f"three interactions or more.*longest history has {longest}"
    ):
        _split(_dataset(short), protocol=protocol)


def test_random_does_not_always_take_the_same_place() -> None:
    histories = {f"u{n}": list("abcdef") for n in range(50)}
    parts = _split(_dataset(histories), protocol="random", cold_user_share=0.0)
    assert set(parts.test.targets) == set(range(6))
    assert set(parts.validation.targets) == set(range(6))


# Cold users


@pytest.mark.parametrize(
    ("num_users", "share", "num_cold"),
    [(20, 0.05, 1), (20, 0.0, 0), (20, 0.02, 0), (20, 0.5, 10), (20, 0.99, 19), (1, 0.9, 0)],
)
def test_the_share_of_cold_users_is_rounded_and_leaves_one_warm(
    num_users: int, share: float, num_cold: int
) -> None:
    data = _dataset({f"u{n}": list("abc") for n in range(num_users)})
    assert len(_split(data, cold_user_share=share).cold_user_ids) == num_cold


def test_users_with_fewer_than_three_interactions_are_never_cold() -> None:
    histories = {f"short{n}": ["a", "b"] for n in range(50)} | {
        f"u{n}": list("abc") for n in range(4)
    }
    parts = _split(_dataset(histories), cold_user_share=0.5)
    assert len(parts.cold_user_ids) == 2
    assert not any(user.startswith("short") for user in parts.cold_user_ids)


def test_cold_users_with_text_are_asked_about_by_text_alone_too() -> None:
    histories = {f"u{n}": list("abc") for n in range(10)}
    texts = {f"u{n}": f"text {n}" if n % 2 else " " for n in range(10)}
    parts = _split(_dataset(histories, texts=texts), cold_user_share=0.6)
    with_text = [
        user for user in parts.test.user_ids if user in parts.cold_user_ids and texts[user].strip()
    ]
    assert parts.text_only.user_ids == with_text and with_text
    assert parts.text_only.texts == [texts[user] for user in with_text]
    assert all(len(history) == 0 for history in parts.text_only.histories)
    assert parts.text_only.targets.tolist() == [2] * len(with_text)
    assert parts.text_only.is_cold_user.all()
    assert parts.test.texts == [texts[user] for user in parts.test.user_ids]


def test_without_user_texts_there_is_no_text_only_case() -> None:
    data = _dataset({f"u{n}": list("abc") for n in range(10)})
    parts = _split(data, cold_user_share=0.5)
    assert len(parts.text_only) == 0
    assert parts.test.texts == [""] * 10


# Temporal

_TIMED = {"u": list("abcd"), "v": list("ab"), "w": list("c")}
_TIMES = {"u": [1.0, 2.0, 5.0, 9.0], "v": [3.0, 10.0], "w": [8.0]}


def test_temporal_cuts_all_users_at_the_same_times() -> None:
    parts = _split(_dataset(_TIMED, _TIMES), protocol="temporal", test_share=0.3)
    assert _cases(parts.test) == {("u", "d"): "abc", ("v", "b"): "a"}  # times 9, 10
    assert _cases(parts.validation) == {("u", "c"): "ab", ("w", "c"): ""}  # times 5, 8
    assert _pairs(parts.train) == Counter([("u", "a"), ("u", "b"), ("v", "a")])
    assert parts.validation.is_cold_user.tolist() == [False, True]
    assert parts.cold_user_ids == frozenset()


def test_temporal_users_who_come_after_the_cut_are_cold() -> None:
    texts = {"w": "likes c"}
    data = _dataset(_TIMED, _TIMES | {"w": [11.0]}, texts)
    parts = _split(data, protocol="temporal", test_share=0.3)
    assert _cases(parts.test) == {("v", "b"): "a", ("w", "c"): ""}
    assert parts.cold_user_ids == frozenset("w")
    assert parts.test.is_cold_user.tolist() == [False, True]
    assert _cases(parts.text_only) == {("w", "c"): ""}


def test_temporal_never_parts_equal_times() -> None:
    times = {"u": [1.0, 2.0, 9.0, 9.0], "v": [2.0, 9.0], "w": [2.0]}
    parts = _split(_dataset(_TIMED, times), protocol="temporal", test_share=0.15)
    assert sorted(_cases(parts.test)) == [("u", "c"), ("u", "d"), ("v", "b")]
    assert sorted(_cases(parts.validation)) == [("u", "b"), ("v", "a"), ("w", "c")]
    assert _pairs(parts.train) == Counter([("u", "a")])


def test_temporal_needs_three_times() -> None:
    times = {"u": [1.0, 1.0, 2.0, 2.0], "v": [1.0, 2.0], "w": [2.0]}
    with pytest.raises(DataError, match="three different times.*here are 7 at 2 times"):
        _split(_dataset(_TIMED, times), protocol="temporal")


def test_temporal_needs_times() -> None:
    with pytest.raises(DataError, match=r"data\.columns\.timestamp"):
        _split(_dataset(_TIMED), protocol="temporal")


@settings(deadline=None, max_examples=80)
@given(
    histories=_HISTORIES,
    share=st.sampled_from([0.01, 0.1, 0.3, 0.49]),
    data=st.data(),
)
def test_temporal_loses_nothing_and_never_looks_ahead(
    histories: Histories, share: float, data: st.DataObject
) -> None:
    times = {
        user: sorted(float(data.draw(st.integers(0, 9))) for _ in items)
        for user, items in histories.items()
    }
    time_of = {(u, i): t for u in histories for i, t in zip(histories[u], times[u], strict=True)}
    try:
        parts = _split(_dataset(histories, times), protocol="temporal", test_share=share)
    except DataError:
        assert len(set(time_of.values())) < 3
        return
    assert len(set(time_of.values())) >= 3
    train, validation, test = map(_target_or_pairs, (parts.train, parts.validation, parts.test))
    assert train + validation + test == _all_pairs(histories)
    assert train and validation and test
    assert max(map(time_of.__getitem__, train)) < min(map(time_of.__getitem__, validation))
    assert max(map(time_of.__getitem__, validation)) < min(map(time_of.__getitem__, test))
    for (user, _), history in _cases(parts.test).items():
        assert history == "".join(i for i in histories[user] if (user, i) in train + validation)
    for (user, _), history in _cases(parts.validation).items():
        assert history == "".join(i for i in histories[user] if (user, i) in train)


# Cold items


@settings(deadline=None, max_examples=80)
@given(
    histories=_HISTORIES,
    share=st.sampled_from([0.01, 0.3, 0.99]),
    seed=_SEEDS,
    has_order=st.booleans(),
)
def test_cold_items_are_in_the_test_alone(
    histories: Histories, share: float, seed: int, has_order: bool
) -> None:
    data = _dataset(histories, has_order=has_order)
    try:
        parts = _split(data, protocol="cold_items", cold_item_share=share, seed=seed)
    except DataError:
        return
    used = {item for items in histories.values() for item in items}
    cold = {ITEM_IDS[i] for i in parts.cold_item_numbers}
    assert len(cold) == min(max(1, round(share * len(used))), len(used) - 1)
    assert cold <= used
    train, validation, test = map(_target_or_pairs, (parts.train, parts.validation, parts.test))
    assert {item for _, item in test} <= cold
    assert not {item for _, item in train + validation} & cold
    assert train + validation == Counter(p for p in _all_pairs(histories) if p[1] not in cold)
    assert _pairs(parts.train_and_validation) == train + validation
    expected = {}
    for user, items in histories.items():
        for place, item in enumerate(items):
            before = items[:place] if has_order else items
            history = "".join(i for i in before if i not in cold)
            if item in cold and history:
                expected[user, item] = history
    assert _cases(parts.test) == expected
    for (user, target), history in _cases(parts.validation).items():
        warm = [item for item in histories[user] if item not in cold]
        assert history == "".join(item for item in warm if item != target) != ""
        assert target == warm[-1] or not has_order
    assert not parts.test.is_cold_user.any() and not parts.cold_user_ids


def test_cold_items_without_order_do_not_validate_on_the_last_row() -> None:
    histories = {f"u{n:02}": list("abcdefghij") for n in range(40)}
    data = _dataset(histories, has_order=False)
    parts = _split(data, protocol="cold_items", cold_item_share=0.1)
    assert len(set(parts.validation.targets)) > 5


def test_other_protocols_hide_no_item() -> None:
    parts = _split(_dataset({"u": list("abc"), "v": list("cab")}))
    assert parts.cold_item_numbers.tolist() == []
    assert parts.cold_item_numbers.dtype == np.int32


def test_cold_items_need_two_items() -> None:
    with pytest.raises(DataError, match="two different items"):
        _split(_dataset({"u": ["a"], "v": ["a"]}), protocol="cold_items")


def test_cold_items_that_leave_nothing_to_ask_say_what_is_needed() -> None:
    with pytest.raises(DataError, match="leaves nothing for the .*another split.cold_item_share"):
        _split(_dataset({"u": ["a"], "v": ["b"]}), protocol="cold_items")


# All protocols


@settings(deadline=None, max_examples=60)
@given(histories=_HISTORIES, has_order=st.booleans(), seed=_SEEDS)
@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_any_data_is_split_into_parts_or_refused(
    protocol: str, histories: Histories, has_order: bool, seed: int
) -> None:
    times = {u: [float(n) for n in range(len(i))] for u, i in histories.items()}
    data = _dataset(histories, times if has_order else None, has_order=has_order)
    try:
        parts = _split(data, protocol=protocol, cold_user_share=0.3, seed=seed)
    except DataError:
        return
    assert parts.protocol == protocol
    columns = {"user_id": pl.String, "item_number": pl.Int32, "position": pl.Int64}
    has_times = has_order and any(time > 0 for of_user in times.values() for time in of_user)
    for frame in (parts.train, parts.train_and_validation):
        assert frame.schema == {**columns, **({"gap": pl.Int32} if has_times else {})}
        assert frame.height
    for queries in (parts.validation, parts.test, parts.text_only):
        assert queries.targets.dtype == np.int32 and queries.is_cold_user.dtype == np.bool_
        assert all(history.dtype == np.int32 for history in queries.histories)
        for target, history in zip(queries.targets, queries.histories, strict=True):
            assert target not in history
    held_out = set(_target_pairs(parts.validation)) | set(_target_pairs(parts.test))
    assert not held_out & set(_pairs(parts.train))
    known = set(parts.train_and_validation["user_id"])
    assert parts.cold_user_ids == {u for u in parts.test.user_ids if u not in known}


_MANY = {f"u{n:02}": [ITEM_IDS[(n * k) % 10] for k in (1, 3, 7, 9)] for n in range(1, 40) if n % 10}
_MANY = {user: list(dict.fromkeys(items)) for user, items in _MANY.items()}


def _same(one: Split, other: Split) -> bool:
    return (
        one.train.equals(other.train)
        and one.train_and_validation.equals(other.train_and_validation)
        and all(
            _cases(a) == _cases(b)
            for a, b in zip((one.validation, one.test), (other.validation, other.test), strict=True)
        )
        and one.cold_user_ids == other.cold_user_ids
        and one.cold_item_numbers.tolist() == other.cold_item_numbers.tolist()
    )


@pytest.mark.parametrize("protocol", ["leave_one_out", "random", "cold_items"])
def test_one_seed_gives_one_split_and_another_seed_another(protocol: str) -> None:
    data = _dataset(_MANY)
    first = _split(data, protocol=protocol, cold_item_share=0.4, seed=1)
    assert _same(first, _split(data, protocol=protocol, cold_item_share=0.4, seed=1))
    assert not _same(first, _split(data, protocol=protocol, cold_item_share=0.4, seed=2))


@settings(deadline=None, max_examples=20)
@given(order=st.randoms(use_true_random=False))
@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_the_order_of_rows_does_not_matter_where_times_decide(protocol: str, order: Any) -> None:
    rows = [(u, i, str(n)) for n, (u, i) in enumerate(p for p in _all_pairs(_MANY))]
    items = [(item_id, f"title {item_id}") for item_id in ITEM_IDS]
    found = []
    for _ in range(2):
        data = read_tables(
            pl.DataFrame(items, schema=["item_id", "title"], orient="row"),
            pl.DataFrame(rows, schema=["user_id", "item_id", "timestamp"], orient="row"),
        )
        parts = _split(data, protocol=protocol)
        catalogue = Catalogue(data.items)

        def named(queries: Queries, catalogue: Catalogue = catalogue) -> list[Any]:
            return sorted(
                (u, catalogue.item_ids[t], catalogue.ids(h), bool(c))
                for u, t, h, c in zip(
                    queries.user_ids,
                    queries.targets,
                    queries.histories,
                    queries.is_cold_user,
                    strict=True,
                )
            )

        train = sorted((u, catalogue.item_ids[i], p) for u, i, p, *_ in parts.train.iter_rows())
        cold_items = sorted(catalogue.ids(parts.cold_item_numbers))
        found.append(
            (train, named(parts.validation), named(parts.test), parts.cold_user_ids, cold_items)
        )
        order.shuffle(rows)
        order.shuffle(items)
    assert found[0] == found[1]


@pytest.mark.parametrize("protocol", ["leave_one_out", "temporal"])
def test_data_without_order_is_sent_to_the_protocol_random(protocol: str) -> None:
    with pytest.raises(DataError, match="generated has none: set split.protocol: random"):
        _split(_dataset(_MANY, has_order=False), protocol=protocol)


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_no_interaction_at_all_is_refused(protocol: str) -> None:
    with pytest.raises(DataError, match="needs"):
        _split(_dataset({}), protocol=protocol)


@pytest.mark.parametrize(
    ("setting", "words"),
    [
        ({"protocol": "loo"}, "protocol 'loo' is unknown; take one of leave_one_out, random"),
        ({"cold_user_share": 1.0}, r"cold_user_share must lie in \[0, 1\), got 1.0"),
        ({"cold_user_share": -0.1}, "cold_user_share"),
        ({"cold_item_share": 0.0}, r"cold_item_share must lie in \(0, 1\), got 0.0"),
        ({"test_share": 0.5}, r"test_share must lie in \(0, 0.5\), got 0.5"),
        ({"test_share": float("nan")}, "test_share"),
    ],
)
def test_arguments_out_of_bounds_are_refused(setting: dict[str, Any], words: str) -> None:
    with pytest.raises(UsageError, match=words):
        _split(_dataset(_MANY), **setting)


def test_a_catalogue_of_other_items_is_refused() -> None:
    data = _dataset(_MANY)
    with pytest.raises(DataError, match="catalogue lacks item"):
        split(data, Catalogue(data.items.head(2)))


def test_a_split_leaves_the_dataset_alone() -> None:
    data = _dataset(_MANY)
    before = replace(data, interactions=data.interactions.clone())
    _split(data)
    assert data.interactions.equals(before.interactions)


# Real data


@pytest.mark.data
def test_microlens_leaves_one_out_for_every_user(shared_data: Path) -> None:
    data = read_microlens(shared_data / "microlens-50k")
    parts = _split(data)
    assert len(parts.test) == 50_000
    assert len(parts.cold_user_ids) == 2_500
    assert len(parts.validation) == 47_500
    cold_rows = np.flatnonzero(parts.test.is_cold_user)
    in_cold_histories = sum(len(parts.test.histories[row]) for row in cold_rows)
    held_out = len(parts.test) + len(parts.validation) + in_cold_histories
    assert parts.train.height + held_out == 359_708


@pytest.mark.data
@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_movielens_is_split_by_every_protocol(shared_data: Path, protocol: str) -> None:
    data = read_movielens(shared_data / "movielens-small", min_rating=None)
    parts = _split(data, protocol=protocol)
    assert len(parts.test) and len(parts.validation)
    if protocol == "temporal":
        assert parts.train.height + len(parts.validation) + len(parts.test) == 100_004


NOW = 1_700_000_000.0
TIMED = {"x": list("abcde"), "y": list("abc")}
TIMES = {"x": [NOW, NOW + 1, NOW + 4, NOW + 100, NOW + 9999], "y": [NOW, NOW, NOW + 3]}


def test_gaps_stand_beside_the_items_they_come_before() -> None:
    parts = _split(_dataset(TIMED, TIMES), cold_user_share=0.0)
    assert parts.train["gap"].to_list() == [0, 2, 3, 0]
    assert parts.train_and_validation["gap"].to_list() == [0, 2, 3, 7, 0, 1]
    assert parts.validation.gaps is not None and parts.test.gaps is not None
    assert [g.tolist() for g in parts.validation.gaps] == [[0, 2, 3], [0]]
    assert [g.tolist() for g in parts.test.gaps] == [[0, 2, 3, 7], [0, 1]]


def test_a_gap_spans_what_is_left_out_between_two_items() -> None:
    for seed in range(20):
        parts = _split(_dataset(TIMED, TIMES), protocol="random", cold_user_share=0.0, seed=seed)
        left = parts.train.filter(pl.col("user_id") == "x")
        times = [TIMES["x"][position] for position in left["position"]]
        seconds = np.diff(times)
        wanted = [0, *(1 + int(np.log2(second + 1)) for second in seconds)]
        assert left["gap"].to_list() == wanted


@pytest.mark.parametrize("protocol", ["leave_one_out", "cold_items"])
def test_when_the_target_was_taken_is_not_told(protocol: str) -> None:
    found: dict[float, list[list[int]]] = {0.0: [], 10.0**6: []}
    for later, seed in itertools.product(found, range(8)):
        times = {user: [*of_user[:-1], of_user[-1] + later] for user, of_user in TIMES.items()}
        parts = _split(_dataset(TIMED, times), protocol=protocol, cold_user_share=0.0, seed=seed)
        last = parts.test.targets == [ITEM_IDS.index(TIMED[u][-1]) for u in parts.test.user_ids]
        assert parts.test.gaps is not None
        found[later] += [parts.test.gaps[row].tolist() for row in np.flatnonzero(last)]
    assert found[0.0] and found[0.0] == found[10.0**6]


@pytest.mark.parametrize("times", [None, {"x": [0.0] * 5, "y": [-1.0] * 3}])
def test_data_without_times_has_no_gaps(times: Any) -> None:
    parts = _split(_dataset(TIMED, times))
    assert "gap" not in parts.train.columns and parts.test.gaps is None


def test_cases_of_text_alone_have_no_gaps() -> None:
    texts = {"x": "space", "y": "space"}
    parts = _split(_dataset(TIMED, TIMES, texts), cold_user_share=0.5)
    assert len(parts.text_only) == 1 and parts.text_only.gaps is None
