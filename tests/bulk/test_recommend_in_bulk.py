"""A pipeline gives every user what the export gives them one by one."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import polars as pl
import pytest

import tfrec_llm as tr
from tfrec_llm.bulk.user_requests import parsed_ids
from tfrec_llm.cli.main import main
from tfrec_llm.errors import DataError, UsageError
from tfrec_llm.workflows.bulk import recommend_in_bulk

LOCAL = ["direct_running_mode=in_memory", "direct_num_workers=1"]
USERS: dict[str, tuple[str, list[str]]] = {
    f"u{n}": ("space opera" if n % 3 else "", [f"i{(7 * n + i) % 100}" for i in range(n % 12)])
    for n in range(40)
}


def check_lists(out: Path, export: Path, users: dict[str, tuple[str, list[str]]], k: int) -> None:
    frame = pl.read_parquet(out / "recommendations-*.parquet")
    assert frame.schema == {
        "user_id": pl.String,
        "item_ids": pl.List(pl.String),
        "scores": pl.List(pl.Float32),
    }
    assert sorted(frame["user_id"]) == sorted(users)
    recommender = tr.load(export)
    for user_id, item_ids, scores in frame.iter_rows():
        text, history = users[user_id]
        expected = recommender.recommend(text, history, k=k)
        assert item_ids == [item.item_id for item in expected]
        assert scores == pytest.approx([item.score for item in expected], abs=1e-5)


@pytest.fixture
def write_users(write_records: Callable[..., None]) -> Callable[..., None]:
    return lambda path, users: _write(path, users, write_records)


def _write(
    path: Path, users: dict[str, tuple[str, list[str]]], write_records: Callable[..., None]
) -> None:
    rows = [(user_id, text, history) for user_id, (text, history) in users.items()]
    if path.suffix == ".tfrecord":
        write_records(path, [{"user_id": [u], "about": [t], "history": h} for u, t, h in rows])
        return
    schema = {"user_id": pl.String, "about": pl.String, "history": pl.List(pl.String)}
    frame = pl.DataFrame(rows, schema=schema, orient="row")
    if path.suffix == ".csv":
        frame.with_columns(pl.col("history").list.join(",")).write_csv(path)
    else:
        frame.write_parquet(path)


@pytest.mark.slow
def test_lists_are_those_of_the_export_whatever_the_files(
    export: Path,
    tmp_path: Path,
    write_users: Callable[..., None],
    rejected: Callable[[Path], list[tuple[str, int, str]]],
) -> None:
    folder = tmp_path / "users"
    folder.mkdir()
    names = list(USERS)
    for begin, name in ((0, "a.csv"), (14, "b.parquet"), (28, "c.tfrecord")):
        end = begin + 14 if begin < 28 else None
        write_users(folder / name, {user: USERS[user] for user in names[begin:end]})
    with open(folder / "a.csv", "a") as file:
        file.write('again,,"""i1"\nu0,x,i1\n')
    out = tmp_path / "out"
    summary = recommend_in_bulk(
        str(export), str(folder), out=str(out), k=7, batch_size=6, beam_options=LOCAL
    )
    check_lists(out, export, USERS, 7)
    assert rejected(out) == [("a.csv", 15, "bad_history"), ("a.csv", 16, "duplicate_user")]
    assert (summary["rows"], summary["written"]) == (42, 40)


def test_a_whole_corpus_taken_leaves_a_short_list(
    export: Path, tmp_path: Path, write_users: Callable[..., None]
) -> None:
    users = {"most": ("", [f"i{n}" for n in range(97)]), "new": ("", [])}
    write_users(tmp_path / "users.parquet", users)
    out = tmp_path / "out"
    recommend_in_bulk(
        str(export), str(tmp_path / "users.parquet"), out=str(out), beam_options=LOCAL
    )
    check_lists(out, export, users, 10)
    frame = pl.read_parquet(out / "recommendations-*.parquet")
    assert sorted(frame["item_ids"].list.len()) == [3, 10]


def test_the_command_tells_what_was_done(
    export: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pl.DataFrame({"id": ["u", "v"], "about": ["space opera", "love"]}).write_csv(
        tmp_path / "users.csv"
    )
    out = tmp_path / "out"
    words = ["recommend-all", str(export), "--users", str(tmp_path / "users.csv"), "-k", "3"]
    more = ["--out", str(out), "--user-id", "id", "--json"]
    assert main([*words, *more, "--beam-option", LOCAL[0]]) == 0
    told: dict[str, Any] = json.loads(capsys.readouterr().out)
    assert (told["written"], told["rejected"], told["shards"]) == (2, {}, 1)
    check_lists(out, export, {"u": ("space opera", []), "v": ("love", [])}, 3)


def test_nothing_known_of_users_is_refused(export: Path, tmp_path: Path) -> None:
    pl.DataFrame({"user_id": ["u"], "age": [3]}).write_csv(tmp_path / "users.csv")
    with pytest.raises(DataError, match="neither a history nor a text"):
        recommend_in_bulk(str(export), str(tmp_path / "users.csv"), out="unused")
    with pytest.raises(UsageError, match="`k` must be at least 1"):
        recommend_in_bulk(str(export), str(tmp_path / "users.csv"), out="unused", k=0)


@pytest.mark.parametrize(
    ("text", "ids"),
    [
        ("a,b", ["a", "b"]),
        (' a , "b, c",', ["a", "b, c"]),
        ("b, c\x1f", ["b, c"]),
        ("", []),
        ('"a', None),
    ],
)
def test_ids_of_a_history_are_told_apart(text: str, ids: list[str] | None) -> None:
    assert parsed_ids(text) == ids
