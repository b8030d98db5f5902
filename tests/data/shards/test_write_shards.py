"""Shards hold what `read_tables` gives, in whatever parts the tables are read."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tfrec_llm.data.file_formats import read_raw_batches, read_raw_table
from tfrec_llm.data.shards.shard_files import META_FILE
from tfrec_llm.data.shards.sharded_dataset import ShardedDataset, read_shards
from tfrec_llm.data.shards.write_shards import shard_of, write_shards
from tfrec_llm.data.tables import read_tables
from tfrec_llm.errors import CorruptFileError, DataError, UsageError
from tfrec_llm.keras_api import tf

ITEMS = pl.DataFrame({"item_id": list("abcdef"), "title": [f"title {i}" for i in "abcdef"]})


def written(folder: Path, clicks: pl.DataFrame, **options: Any) -> Path:
    ITEMS.write_csv(folder / "items.csv")
    clicks.write_csv(folder / "clicks.csv")
    out = folder / "shards"
    write_shards(folder / "items.csv", folder / "clicks.csv", None, out, **options)
    return out


def histories(data: ShardedDataset) -> dict[str, list[str]]:
    ids = data.items["item_id"].to_list()
    return {
        user: [ids[number] for number in items.tolist()]
        for part in data.reader.histories(batch_users=3)
        for user, items in part
    }


def rejected(out: Path) -> list[tuple[int, str]]:
    path = out / "quarantine" / "interactions.jsonl"
    rows = [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []
    return sorted((row["row"], row["reason"]) for row in rows)


CLICKS = st.lists(
    st.tuples(
        st.sampled_from(["u", "v", "w", "ü, x", ""]),
        st.sampled_from([*"abcdef", "unknown"]),
        st.sampled_from(["1", "2", "3.5", "2024-01-31", "soon"]),
    ),
    max_size=30,
)


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(CLICKS, st.integers(1, 5), st.integers(1, 7))
def test_histories_and_quarantine_are_those_of_the_tables(
    tmp_path_factory: pytest.TempPathFactory,
    clicks: list[tuple[str, str, str]],
    num_shards: int,
    batch_rows: int,
) -> None:
    folder = tmp_path_factory.mktemp("shards")
    sound = [(u, i, "1") for u in ("p", "q") for i in "ab"]
    columns = {"user_id": pl.String, "item_id": pl.String, "timestamp": pl.String}
    frame = pl.DataFrame([*clicks, *sound], schema=columns, orient="row")
    out = written(
        folder, frame, num_shards=num_shards, batch_rows=batch_rows, max_quarantined_share=1.0
    )
    whole = read_tables(ITEMS, folder / "clicks.csv", max_quarantined_share=1.0)
    shards = read_shards(out)
    expected = {
        user: rows["item_id"].to_list()
        for (user,), rows in whole.interactions.partition_by("user_id", as_dict=True).items()
    }
    assert histories(shards) == expected
    assert shards.quarantine.counts == whole.quarantine.counts
    assert rejected(out) == sorted(whole.quarantine.rows.select("row", "reason").iter_rows())
    assert (shards.num_users, shards.num_interactions) == (whole.num_users, whole.num_interactions)
    assert shards.items.equals(whole.items) and shards.has_order == whole.has_order


def test_records_hold_user_items_and_times(tmp_path: Path) -> None:
    clicks = pl.DataFrame(
        {"user_id": ["v", "u", "u"], "item_id": ["c", "b", "a"], "timestamp": [1.5, 2e9, 1e9]}
    )
    out = written(tmp_path, clicks, num_shards=1)
    path = out / "shards" / "interactions-00000-of-00001.tfrecord"
    examples = [
        tf.train.Example.FromString(record.numpy()).features.feature
        for record in tf.data.TFRecordDataset(str(path))
    ]
    assert [
        (
            example["user_id"].bytes_list.value[0],
            list(example["item_numbers"].int64_list.value),
            list(example["timestamp_micros"].int64_list.value),
        )
        for example in examples
    ] == [(b"u", [0, 1], [10**15, 2 * 10**15]), (b"v", [2], [1_500_000])]


def test_rows_without_times_keep_their_order_over_several_files(tmp_path: Path) -> None:
    ITEMS.write_csv(tmp_path / "items.csv")
    folder = tmp_path / "clicks"
    folder.mkdir()
    pl.DataFrame({"user_id": ["u", "v"], "item_id": ["c", "a"]}).write_parquet(folder / "1.parquet")
    pl.DataFrame({"user_id": ["u", "u"], "item_id": ["a", "c"]}).write_csv(folder / "2.csv")
    write_shards(tmp_path / "items.csv", folder, None, tmp_path / "out", num_shards=2)
    data = read_shards(tmp_path / "out")
    assert histories(data) == {"u": ["c", "a"], "v": ["a"]}
    assert data.quarantine.counts == {"interactions: duplicate_pair": 1}
    line = json.loads((tmp_path / "out/quarantine/interactions.jsonl").read_text())
    assert line["file"] == str(folder / "2.csv") and line["row"] == 2


def test_ratings_below_the_least_are_counted_and_left_out(tmp_path: Path) -> None:
    clicks = pl.DataFrame({"user_id": ["u", "v", "v"], "item_id": list("aab"), "rating": [5, 4, 1]})
    data = read_shards(written(tmp_path, clicks, min_rating=3.0))
    assert histories(data) == {"u": ["a"], "v": ["a"]}
    assert data.num_below_min_rating == 1


@pytest.mark.parametrize("files", [[], ["notes.txt"]])
def test_a_folder_without_tables_is_refused(tmp_path: Path, files: list[str]) -> None:
    ITEMS.write_csv(tmp_path / "items.csv")
    (tmp_path / "clicks").mkdir()
    for name in files:
        (tmp_path / "clicks" / name).touch()
    with pytest.raises(DataError, match="holds no file whose name ends in"):
        write_shards(tmp_path / "items.csv", tmp_path / "clicks", None, tmp_path / "out")


def test_too_many_bad_rows_leave_nothing_behind(tmp_path: Path) -> None:
    clicks = pl.DataFrame({"user_id": ["u", "v", "w"], "item_id": ["a", "?", "?"]})
    with pytest.raises(DataError, match=r"2 of 3 rows cannot be used \(unknown_item 2\)"):
        written(tmp_path, clicks)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["clicks.csv", "items.csv"]


def test_a_single_user_is_refused(tmp_path: Path) -> None:
    clicks = pl.DataFrame({"user_id": ["u", "u"], "item_id": ["a", "b"]})
    with pytest.raises(DataError, match="at least two"):
        written(tmp_path, clicks)


def test_no_shards_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="num_shards"):
        write_shards("items.csv", "clicks.csv", None, tmp_path / "out", num_shards=0)


def _cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-1])


def _halved(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def _turned(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 255
    path.write_bytes(bytes(content))


@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("items.parquet", _cut),
        ("items.parquet", _turned),
        ("users.parquet", Path.unlink),
        ("shards/interactions-00000-of-00002.tfrecord", _cut),
        ("shards/interactions-00000-of-00002.tfrecord", _turned),
        ("shards/interactions-00001-of-00002.tfrecord", Path.unlink),
        (META_FILE, _halved),
    ],
)
def test_a_changed_file_is_told(tmp_path: Path, name: str, change: Any) -> None:
    users = [f"u{n}" for n in range(8)]
    clicks = pl.DataFrame({"user_id": users, "item_id": ["a"] * 8})
    out = written(tmp_path, clicks, num_shards=2)
    change(out / name)
    with pytest.raises(CorruptFileError, match="Write the shards again"):
        histories(read_shards(out))


def test_a_folder_without_shards_is_told(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="tfrec-llm shard CONFIG"):
        read_shards(tmp_path)


def test_users_spread_over_the_shards_by_their_ids_alone() -> None:
    users = pl.Series([f"user {n}" for n in range(4000)])
    shards = shard_of(users, 8)
    assert shards[::-1].to_list() == shard_of(users[::-1], 8).to_list()
    assert np.bincount(shards.to_numpy()).min() > 400


def test_parts_of_a_file_are_the_whole_with_its_row_numbers(tmp_path: Path) -> None:
    path = tmp_path / "items.jsonl"
    path.write_text('{"a": 1, "b": 2}\nno JSON\n{"a": 3}\n{"a": 4}\n{"a": 5, "b": 6}\n')
    whole = read_raw_table(path, "items")
    parts = list(read_raw_batches(path, "items", 2))
    assert [part.num_rows for part in parts] == [2, 2, 1]
    assert pl.concat([part.frame for part in parts], how="diagonal").equals(whole.frame)
    assert pl.concat([part.quarantine for part in parts]).equals(whole.quarantine)
