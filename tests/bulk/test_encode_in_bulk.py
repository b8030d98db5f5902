"""A pipeline gives the vectors that one process gives, and loses no row in silence."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from tfrec_llm.cli.main import main
from tfrec_llm.encoders.text_encoder import TextEncoder
from tfrec_llm.errors import DataError, MissingPackageError, TfrecLlmError, UsageError
from tfrec_llm.workflows.bulk import encode_in_bulk

SETTINGS: dict[str, Any] = {"max_tokens": 16, "batch_size": 8, "text_columns": ["title"]}
LOCAL = ["direct_running_mode=in_memory", "direct_num_workers=1"]
Rejected = Callable[[Path], list[tuple[str, int, str]]]


@pytest.fixture
def folder(tmp_path: Path, texts: dict[str, str], write_records: Callable[..., None]) -> Path:
    """The items in files of all kinds, with a bad row in each."""
    folder = tmp_path / "items"
    folder.mkdir()
    rows = list(texts.items())
    columns = {"item_id": pl.String, "title": pl.String}

    def frame(part: list[tuple[str, str]]) -> pl.DataFrame:
        return pl.DataFrame(part, schema=columns, orient="row")

    frame([*rows[:40], ("", "no id")]).write_csv(folder / "a.csv")
    frame([*rows[40:60], ("i0", "again")]).write_parquet(folder / "b.parquet")
    records = [{"item_id": [item_id], "title": [text]} for item_id, text in rows[60:90]]
    write_records(folder / "c.tfrecord", [*records[:5], b"broken", *records[5:]])
    more = [{"item_id": [item_id], "title": [text]} for item_id, text in rows[90:]]
    write_records(folder / "d.tfrecord.gz", more, "GZIP")
    (folder / "_notes").touch()
    return folder


def vectors(out: Path) -> dict[str, list[float]]:
    frame = pl.read_parquet(out / "vectors-*.parquet")
    assert frame.schema == {"item_id": pl.String, "embedding": pl.List(pl.Float32)}
    assert frame["item_id"].is_unique().all()
    return dict(frame.iter_rows())


def check_vectors(out: Path, preset: Path, texts: dict[str, str]) -> None:
    found = vectors(out)
    assert found.keys() == texts.keys()
    encoder = TextEncoder.from_preset(preset, max_tokens=16)
    expected = encoder.encode(list(texts.values()))
    np.testing.assert_allclose([found[item] for item in texts], expected, atol=1e-5)


def test_vectors_are_those_of_one_process_whatever_the_files(
    folder: Path, preset: Path, texts: dict[str, str], tmp_path: Path, rejected: Rejected
) -> None:
    out = tmp_path / "out"
    summary = encode_in_bulk(
        str(folder), encoder=str(preset), out=str(out), beam_options=LOCAL, **SETTINGS
    )
    check_vectors(out, preset, texts)
    assert rejected(out) == [
        ("a.csv", 41, "missing_id"),
        ("b.parquet", 21, "duplicate_item"),
        ("c.tfrecord", 6, "bad_row"),
    ]
    assert summary["rejected"] == {"bad_row": 1, "duplicate_item": 1, "missing_id": 1}
    assert (summary["rows"], summary["written"]) == (103, 100)
    told = json.loads((out / "summary.json").read_text())
    assert told == {key: summary[key] for key in told}


@pytest.mark.slow
def test_several_processes_give_the_same_in_as_many_files_as_wanted(
    folder: Path, preset: Path, texts: dict[str, str], tmp_path: Path, rejected: Rejected
) -> None:
    out = tmp_path / "out"
    options = ["direct_running_mode=multi_processing", "direct_num_workers=2"]
    encode_in_bulk(
        str(folder / "*"),
        encoder=str(preset),
        out=str(out),
        beam_options=options,
        num_shards=3,
        **SETTINGS,
    )
    check_vectors(out, preset, texts)
    assert len(rejected(out)) == 3
    names = sorted(path.name for path in out.glob("vectors-*"))
    assert names == [f"vectors-0000{n}-of-00003.parquet" for n in range(3)]


def test_too_many_rejected_rows_leave_nothing_behind(
    folder: Path, preset: Path, tmp_path: Path
) -> None:
    with pytest.raises(DataError, match="3 of 103 rows cannot be used"):
        encode_in_bulk(
            str(folder),
            encoder=str(preset),
            out=str(tmp_path / "out"),
            beam_options=LOCAL,
            max_quarantined_share=0.01,
            **SETTINGS,
        )
    assert [path.name for path in tmp_path.iterdir()] == ["items"]


def test_a_failing_worker_leaves_nothing_behind(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(TfrecLlmError, match="no-such-preset"):
        encode_in_bulk(
            str(folder),
            encoder="no-such-preset",
            out=str(tmp_path / "out"),
            beam_options=LOCAL,
            **SETTINGS,
        )
    assert [path.name for path in tmp_path.iterdir()] == ["items"]


def test_a_folder_that_holds_something_is_refused(folder: Path, preset: Path) -> None:
    with pytest.raises(UsageError, match="holds something already"):
        encode_in_bulk(str(folder), encoder=str(preset), out=str(folder), **SETTINGS)


@pytest.mark.parametrize(
    ("source", "column", "message"),
    [
        ("nowhere.csv", "title", "names no file"),
        ("notes.txt", "title", "the name must end in"),
        ("items/a.csv", "titel", "has no column 'titel'"),
    ],
)
def test_what_is_wrong_with_the_files_is_told_before_the_work(
    folder: Path, tmp_path: Path, source: str, column: str, message: str
) -> None:
    (tmp_path / "notes.txt").touch()
    with pytest.raises(DataError, match=message):
        encode_in_bulk(
            str(tmp_path / source), encoder="unused", out="unused", text_columns=[column]
        )


@pytest.mark.parametrize("option", ["--direct_num_workers=2", "=2", ""])
def test_an_option_of_a_wrong_form_is_told(folder: Path, tmp_path: Path, option: str) -> None:
    with pytest.raises(UsageError, match="expected key=value"):
        encode_in_bulk(
            str(folder),
            encoder="unused",
            out=str(tmp_path / "out"),
            beam_options=[option],
            **SETTINGS,
        )


def test_options_of_a_runner_without_one_are_refused(capsys: pytest.CaptureFixture[str]) -> None:
    words = ["encode", "items.csv", "--encoder", "e", "--out", "o.parquet", "--shards", "2"]
    assert main(words) == 2
    assert "name its --runner" in capsys.readouterr().err


def test_a_missing_package_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(MissingPackageError, match=r"tfrec_llm\[beam\]"):
        encode_in_bulk("items.csv", encoder="unused", out="unused")
