"""Reading files as strings: what survives, and what is set aside."""

from __future__ import annotations

import datetime as dt
import gzip
import json
from pathlib import Path

import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tfrec_llm.data.file_formats import read_raw_table
from tfrec_llm.errors import DataError


def _write(folder: Path, name: str, content: str | bytes) -> Path:
    data = content.encode() if isinstance(content, str) else content
    path = folder / name
    path.write_bytes(gzip.compress(data) if name.endswith(".gz") else data)
    return path


def _problems(path: Path) -> list[tuple[int, str]]:
    return read_raw_table(path, "items").quarantine.select("row", "reason").rows()


@pytest.mark.parametrize("ending", [".csv", ".csv.gz", ".CSV"])
def test_ids_that_look_like_numbers_stay_as_they_are(tmp_path: Path, ending: str) -> None:
    text = "item_id,title\n007,a\n1e5,b\n1.0,c\n 8 ,d\nNaN,e\nnull,f\n"
    name = "items" + ending
    path = tmp_path / name
    path.write_bytes(gzip.compress(text.encode()) if ending.endswith(".gz") else text.encode())
    ids = read_raw_table(path, "items").frame["item_id"].to_list()
    assert ids == ["007", "1e5", "1.0", " 8 ", "NaN", "null"]


def test_tab_separated_values_may_hold_commas(tmp_path: Path) -> None:
    path = _write(tmp_path, "items.tsv", "item_id\ttitle\na\tone, two\n")
    assert read_raw_table(path, "items").frame["title"].to_list() == ["one, two"]


def test_quotes_emoji_chinese_and_newlines_in_fields_survive(tmp_path: Path) -> None:
    path = _write(tmp_path, "items.csv", 'item_id,title\n"a ""b"" c","三体\n🚀"\n')
    frame = read_raw_table(path, "items").frame
    assert frame.row(0)[:2] == ('a "b" c', "三体\n🚀")


def test_windows_line_ends_blank_lines_and_a_byte_order_mark_do_no_harm(tmp_path: Path) -> None:
    path = _write(tmp_path, "items.csv", b"\xef\xbb\xbfitem_id,title\r\na,A\r\n\r\nb,B")
    raw = read_raw_table(path, "items")
    assert raw.frame["item_id"].to_list() == ["a", "b"]
    assert raw.num_rows == 2


def test_a_text_of_a_hundred_thousand_characters_is_read(tmp_path: Path) -> None:
    long_text = "x" * 200_000
    path = _write(tmp_path, "items.csv", f"item_id,title\na,{long_text}\n")
    assert read_raw_table(path, "items").frame["title"].to_list() == [long_text]


def test_rows_with_too_few_or_too_many_fields_are_set_aside(tmp_path: Path) -> None:
    path = _write(tmp_path, "items.csv", "item_id,title\na,A\nb\nc,C,?\nd,D\n")
    raw = read_raw_table(path, "items")
    assert raw.frame["item_id"].to_list() == ["a", "d"]
    rows = raw.quarantine.rows(named=True)
    assert [(r["row"], r["reason"]) for r in rows] == [(2, "bad_row"), (3, "bad_row")]
    assert rows[0]["detail"] == "the number of fields is 1, not 2"
    assert json.loads(rows[1]["content"]) == ["c", "C", "?"]
    assert rows[0]["file"] == str(path)


def test_a_row_of_broken_utf8_is_set_aside_and_the_rest_is_read(tmp_path: Path) -> None:
    path = _write(tmp_path, "items.csv", b"item_id,title\na,A\nb,caf\xe9\nc,C\n")
    raw = read_raw_table(path, "items")
    assert raw.frame["item_id"].to_list() == ["a", "c"]
    row = raw.quarantine.row(0, named=True)
    assert (row["row"], row["reason"]) == (2, "bad_encoding")
    assert json.loads(row["content"]) == ["b", "caf\udce9"]


def test_a_quotation_mark_left_open_costs_one_row_only(tmp_path: Path) -> None:
    path = _write(tmp_path, "items.csv", 'item_id,title\na,A\nb,"open\nc,C\nd,D\n')
    raw = read_raw_table(path, "items")
    assert raw.frame["item_id"].to_list() == ["a", "c", "d"]
    row = raw.quarantine.row(0, named=True)
    assert (row["row"], row["reason"]) == (2, "bad_row")
    assert "quotation marks" in row["detail"] and json.loads(row["content"]) == 'b,"open'


def test_an_open_quotation_mark_before_a_quoted_row_costs_one_row_only(tmp_path: Path) -> None:
    path = _write(tmp_path, "items.csv", 'item_id,title\na,"open\nb,"B, b"\nc,C\n')
    raw = read_raw_table(path, "items")
    assert raw.frame.select("item_id", "title").rows() == [("b", "B, b"), ("c", "C")]
    assert raw.num_rows == 3


def test_text_after_a_closing_quotation_mark_is_set_aside(tmp_path: Path) -> None:
    path = _write(tmp_path, "items.csv", 'item_id,title\na,"He" said\nb,B\n')
    assert _problems(path) == [(1, "bad_row")]


def test_jsonl_numbers_lists_and_missing_keys_become_plain_strings(tmp_path: Path) -> None:
    lines = [
        '{"item_id": 12, "title": "A", "tags": ["x", "y"]}',
        '{"item_id": 12.0, "title": null}',
        '{"item_id": 12345678901234567890, "score": 0.5, "new": true}',
        '{"item_id": "007", "score": 1e5}',
    ]
    path = _write(tmp_path, "items.jsonl", "\n".join(lines))
    frame = read_raw_table(path, "items").frame
    assert frame["item_id"].to_list() == ["12", "12", "12345678901234567890", "007"]
    assert frame["title"].to_list() == ["A", "", "", ""]
    assert frame["tags"].to_list() == ["x, y", "", "", ""]
    assert frame["score"].to_list() == ["", "", "0.5", "100000"]
    assert frame["new"].to_list() == ["", "", "true", ""]


def test_broken_lines_of_jsonl_are_set_aside(tmp_path: Path) -> None:
    content = b'{"item_id": "a"}\n{"item_id": \n[1]\n{"item_id": "\xff"}\n{"item_id": "b"}\n'
    path = _write(tmp_path, "items.jsonl.gz", content)
    assert _problems(path) == [(2, "bad_row"), (3, "bad_row"), (4, "bad_encoding")]
    assert read_raw_table(path, "items").frame["item_id"].to_list() == ["a", "b"]


def test_a_half_emoji_in_jsonl_is_no_utf8(tmp_path: Path) -> None:
    path = _write(tmp_path, "items.jsonl", '{"item_id": "\\ud83d"}\n{"item_id": "b"}\n')
    assert _problems(path) == [(1, "bad_encoding")]


def test_parquet_types_become_plain_strings(tmp_path: Path) -> None:
    zoned = dt.datetime(2024, 1, 31, 12, tzinfo=dt.timezone(dt.timedelta(hours=2)))
    frame = pl.DataFrame(
        {
            "whole": [12.0, 1e20],
            "part": [0.5, None],
            "integer": [7, None],
            "time": [dt.datetime(2024, 1, 31, 12, 0, 1), None],
            "zoned": pl.Series([zoned, None], dtype=pl.Datetime("us", "Europe/Paris")),
            "date": [dt.date(2024, 1, 31), None],
            "category": pl.Series(["x", None], dtype=pl.Categorical),
            "bytes": [b"caf\xc3\xa9", None],
            "list": [["a", "b"], None],
            "record": [{"a": 1}, None],
        }
    )
    path = tmp_path / "items.parquet"
    frame.write_parquet(path)
    raw = read_raw_table(path, "items")
    assert list(raw.frame.row(0, named=True).values())[:-1] == [
        "12",
        "0.5",
        "7",
        "2024-01-31T12:00:01.000000",
        "2024-01-31T10:00:00.000000",
        "2024-01-31",
        "x",
        "café",
        "a, b",
        '{"a": 1}',
    ]
    assert set(raw.frame.row(1)[1:9]) == {""}


def test_bytes_of_parquet_that_are_no_utf8_are_set_aside(tmp_path: Path) -> None:
    path = tmp_path / "items.parquet"
    pl.DataFrame({"item_id": [b"a", b"\xff"]}).write_parquet(path)
    assert _problems(path) == [(2, "bad_encoding")]


def test_a_frame_is_read_like_a_file() -> None:
    raw = read_raw_table(pl.DataFrame({"item_id": [1.0, 2.0]}), "items")
    assert raw.frame["item_id"].to_list() == ["1", "2"]
    assert raw.file == "<frame>"


def test_a_missing_file_names_the_nearest_one(tmp_path: Path) -> None:
    _write(tmp_path, "items.csv", "item_id\na\n")
    with pytest.raises(DataError, match=r"item\.csv \(data\.items\) does not exist.*items\.csv"):
        read_raw_table(tmp_path / "item.csv", "items")


def test_an_unknown_ending_names_the_known_ones(tmp_path: Path) -> None:
    path = _write(tmp_path, "items.xlsx", "x")
    with pytest.raises(DataError, match=r"items\.xlsx \(data\.items\).*\.csv.*\.parquet"):
        read_raw_table(path, "items")


def test_a_folder_is_no_file(tmp_path: Path) -> None:
    (tmp_path / "items.csv").mkdir()
    with pytest.raises(DataError, match="is a folder"):
        read_raw_table(tmp_path / "items.csv", "items")


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("items.csv", "", "is empty"),
        ("items.csv", "item_id,title\n", "has no rows"),
        ("items.jsonl", "\n", "has no rows"),
        ("items.csv", "item_id,title,title\na,A,B\n", "'title' more than once"),
        ("items.csv", '"item_id,title\na,A\n', "header cannot be read"),
        ("items.csv", b"item_id,\xff\na,A\n", "header is not UTF-8"),
        ("items.csv", "item_id,title\na,A\n".encode("utf-16"), "UTF-16"),
        ("items.parquet", b"no parquet at all, but long enough", "cannot be read"),
        ("items.parquet", b"", "cannot be read"),
    ],
)
def test_an_unusable_file_is_one_clear_error(
    tmp_path: Path, name: str, content: str | bytes, words: str
) -> None:
    with pytest.raises(DataError, match=words) as caught:
        read_raw_table(_write(tmp_path, name, content), "items")
    assert str(tmp_path / name) in str(caught.value)


def test_a_frame_without_rows_is_an_error() -> None:
    with pytest.raises(DataError, match="<frame>.*no rows"):
        read_raw_table(pl.DataFrame({"item_id": []}), "items")


def test_a_gzip_file_that_was_cut_is_an_error(tmp_path: Path) -> None:
    whole = gzip.compress(b"item_id,title\n" + b"a,A\n" * 1000)
    (tmp_path / "items.csv.gz").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(DataError, match="cannot be read"):
        read_raw_table(tmp_path / "items.csv.gz", "items")


def test_a_plain_file_named_gz_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "items.csv.gz").write_bytes(b"item_id,title\na,A\n")
    with pytest.raises(DataError, match="cannot be read"):
        read_raw_table(tmp_path / "items.csv.gz", "items")


def test_a_parquet_file_that_was_cut_is_an_error(tmp_path: Path) -> None:
    path = tmp_path / "items.parquet"
    pl.DataFrame({"item_id": [str(i) for i in range(1000)]}).write_parquet(path)
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(DataError, match="cannot be read"):
        read_raw_table(path, "items")


def test_row_numbers_go_on_across_chunks(tmp_path: Path) -> None:
    lines = [f"{i},t" for i in range(1, 120_001)]
    lines[110_000 - 1] = "broken"
    path = _write(tmp_path, "items.csv", "item_id,title\n" + "\n".join(lines))
    raw = read_raw_table(path, "items")
    assert raw.quarantine["row"].to_list() == [110_000]
    assert (raw.frame["item_id"].cast(int) == raw.frame["\x00row"]).all()
    assert raw.frame.height == 119_999


@settings(
    deadline=None, max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(content=st.binary(max_size=80))
def test_any_bytes_give_rows_or_a_clear_error(tmp_path: Path, content: bytes) -> None:
    path = _write(tmp_path, "items.csv", b"a,b\n1,2\n" + content)
    raw = read_raw_table(path, "items")
    assert raw.frame.height + raw.quarantine.height == raw.num_rows


_FIELD = st.text(st.characters(codec="utf-8", exclude_characters="\x00"), max_size=6)


@settings(
    deadline=None, max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(rows=st.lists(st.tuples(_FIELD, _FIELD), min_size=1, max_size=5))
def test_what_polars_writes_is_read_unchanged(tmp_path: Path, rows: list[tuple[str, str]]) -> None:
    frame = pl.DataFrame(rows, schema={"a": pl.String, "b": pl.String}, orient="row")
    for name in ("t.csv", "t.tsv", "t.jsonl", "t.parquet"):
        path = tmp_path / name
        if name.endswith("sv"):
            separator = "\t" if name == "t.tsv" else ","
            frame.write_csv(path, separator=separator, quote_style="always")
        elif name == "t.jsonl":
            frame.write_ndjson(path)
        else:
            frame.write_parquet(path)
        assert read_raw_table(path, "items").frame.select("a", "b").rows() == rows
