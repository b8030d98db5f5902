"""The split of shards is that of the tables, but for what is drawn."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl
import pytest

from tfrec_llm.data.catalogue import Catalogue
from tfrec_llm.data.queries import Queries
from tfrec_llm.data.shards.sharded_dataset import ShardedDataset, read_shards
from tfrec_llm.data.shards.split_shards import split_shards
from tfrec_llm.data.shards.streamed_interactions import StreamedInteractions, as_frame
from tfrec_llm.data.shards.user_draw import user_draws
from tfrec_llm.data.shards.write_shards import write_shards
from tfrec_llm.data.splits import Split, split
from tfrec_llm.data.tables import read_tables
from tfrec_llm.errors import DataError

NUM_USERS = 300


@pytest.fixture(scope="module")
def tables(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("tables")
    draw = np.random.default_rng(2)
    rows = [
        (f"u{user:03d}", f"i{item}", int(draw.integers(10**6)))
        for user in range(NUM_USERS)
        for item in draw.choice(20, size=draw.integers(1, 9), replace=False)
    ]
    items = [f"i{item}" for item in range(20)]
    pl.DataFrame({"item_id": items, "title": items}).write_csv(folder / "items.csv")
    clicks = pl.DataFrame(rows, schema=["user_id", "item_id", "timestamp"], orient="row")
    clicks.sample(fraction=1.0, shuffle=True, seed=1).write_csv(folder / "clicks.csv")
    users = pl.DataFrame({"user_id": [f"u{u:03d}" for u in range(0, 300, 2)]})
    users = users.with_columns(about=pl.lit("likes sand"))
    users.write_csv(folder / "users.csv")
    return folder


def sharded(tables: Path, num_shards: int) -> ShardedDataset:
    out = tables / f"shards-{num_shards}"
    if not out.exists():
        paths = [tables / f"{name}.csv" for name in ("items", "clicks", "users")]
        write_shards(*paths, out, num_shards=num_shards)
    return read_shards(out)


@pytest.fixture(scope="module")
def shards(tables: Path) -> ShardedDataset:
    return sharded(tables, 4)


def cases(queries: Queries) -> dict[str, tuple[list[int], int, str, bool]]:
    return {
        user: (queries.histories[row].tolist(), int(queries.targets[row]), text, bool(cold))
        for row, (user, text, cold) in enumerate(
            zip(queries.user_ids, queries.texts, queries.is_cold_user, strict=True)
        )
    }


def taken(part: object) -> dict[str, list[int]]:
    frame = as_frame(part).sort("user_id", "position")  # type: ignore[arg-type]
    grouped = frame.group_by("user_id").agg("item_number")
    return {user: list(items) for user, items in grouped.iter_rows()}


def test_without_cold_users_it_is_the_split_of_the_tables(
    tables: Path, shards: ShardedDataset
) -> None:
    data = read_tables(*(tables / f"{name}.csv" for name in ("items", "clicks", "users")))
    whole = split(data, Catalogue(data.items), cold_user_share=0.0)
    streamed = split_shards(shards, cold_user_share=0.0)
    assert cases(streamed.validation) == cases(whole.validation)
    assert cases(streamed.test) == cases(whole.test)
    assert streamed.num_cases == {
        "validation": len(whole.validation),
        "test": len(whole.test),
    }
    for ours, theirs in (
        (streamed.train, whole.train),
        (streamed.train_and_validation, whole.train_and_validation),
    ):
        assert isinstance(ours, StreamedInteractions) and isinstance(theirs, pl.DataFrame)
        assert taken(ours) == taken(theirs)
        counts = np.bincount(theirs["item_number"].to_numpy(), minlength=20)
        np.testing.assert_array_equal(ours.num_clicks, counts)
        assert ours.height == theirs.height
        assert ours.num_users == theirs["user_id"].n_unique()


def test_cold_users_are_in_the_test_alone(shards: ShardedDataset) -> None:
    parts = split_shards(shards, cold_user_share=0.3)
    cold = {user for user, case in cases(parts.test).items() if case[3]}
    assert cold == parts.cold_user_ids
    assert 0.15 < len(cold) / len(parts.test) < 0.45
    assert not cold & set(taken(parts.train_and_validation))
    assert not cold & set(parts.validation.user_ids)
    assert set(parts.validation.user_ids) | cold == set(parts.test.user_ids)
    with_text = {user for user in cold if int(user[1:]) % 2 == 0}
    assert set(parts.text_only.user_ids) == with_text and with_text
    assert not any(len(history) for history in parts.text_only.histories)


def drawn(parts: Split) -> tuple[list[str], list[str], frozenset[str]]:
    return parts.validation.user_ids, parts.test.user_ids, parts.cold_user_ids


def test_a_sample_is_seeded_and_does_not_depend_on_the_shards(
    tables: Path, shards: ShardedDataset
) -> None:
    options = {"cold_user_share": 0.2, "max_validation": 30, "max_test": 40}
    first = split_shards(shards, seed=7, **options)  # type: ignore[arg-type]
    again = split_shards(sharded(tables, 9), seed=7, **options)  # type: ignore[arg-type]
    other = split_shards(shards, seed=8, **options)  # type: ignore[arg-type]
    assert drawn(first) == drawn(again) != drawn(other)
    assert (len(first.validation), len(first.test)) == (30, 40)
    whole = split_shards(shards, seed=7, cold_user_share=0.2)
    assert first.num_cases == whole.num_cases
    assert cases(first.test).items() <= cases(whole.test).items()


def test_a_sample_is_as_good_as_any(shards: ShardedDataset) -> None:
    """Each user is drawn about as often as any other."""
    counts: dict[str, int] = {}
    for seed in range(60):
        for user in split_shards(shards, cold_user_share=0.0, max_test=50, seed=seed).test.user_ids:
            counts[user] = counts.get(user, 0) + 1
    whole = split_shards(shards, cold_user_share=0.0)
    expected = 60 * 50 / len(whole.test)
    assert len(counts) == len(whole.test)
    assert max(counts.values()) < 2.5 * expected


def test_workers_share_the_users(shards: ShardedDataset) -> None:
    train = split_shards(shards, cold_user_share=0.0).train
    assert isinstance(train, StreamedInteractions)
    parts = [taken(train.for_worker(3, worker)) for worker in range(3)]
    assert sum(map(len, parts)) == train.num_users
    assert parts[0] | parts[1] | parts[2] == taken(train)
    with pytest.raises(ValueError, match="num_workers"):
        train.for_worker(5, 0)


def test_data_without_order_or_users_to_hold_out_is_refused(tmp_path: Path) -> None:
    pl.DataFrame({"item_id": ["a", "b"], "title": ["A", "B"]}).write_csv(tmp_path / "items.csv")
    pl.DataFrame({"user_id": list("uuvv"), "item_id": list("abab")}).write_csv(tmp_path / "c.csv")
    for ordered, message in ((False, "needs interactions in order"), (True, "three interactions")):
        out = tmp_path / f"{ordered}"
        write_shards(tmp_path / "items.csv", tmp_path / "c.csv", None, out, ordered=ordered)
        with pytest.raises(DataError, match=message):
            split_shards(read_shards(out))


def test_too_many_interactions_are_not_taken_into_memory(
    shards: ShardedDataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    module = "tfrec_llm.data.shards.streamed_interactions"
    monkeypatch.setattr(f"{module}.MOST_IN_MEMORY", 10)
    with pytest.raises(DataError, match="more than the 10 with 200000 that are taken"):
        as_frame(split_shards(shards).train)


def test_draws_are_even() -> None:
    draws = user_draws([f"u{n}" for n in range(4000)], 7, "test")
    counts = np.histogram(draws, bins=8, range=(0.0, 1.0))[0]
    assert counts.min() > 400 and counts.sum() == 4000
