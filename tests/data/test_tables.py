"""What read_tables accepts, sets aside and refuses, and the words it uses."""

from __future__ import annotations

import datetime as dt
import gzip
import json
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tfrec_llm.data.raw_table import write_quarantine
from tfrec_llm.data.schema import INTERACTION_COLUMNS, ITEM_COLUMNS, USER_COLUMNS, Dataset
from tfrec_llm.data.tables import read_items, read_tables
from tfrec_llm.errors import DataError

ITEMS = pl.DataFrame({"item_id": ["a", "b", "c"], "title": ["Dune", "Emma", "Ulysses"]})
PAIRS = pl.DataFrame({"user_id": ["u", "u", "v", "v"], "item_id": ["a", "b", "c", "a"]})


def _interactions(rows: list[tuple[Any, ...]], *extra: str) -> pl.DataFrame:
    names = ["user_id", "item_id", *extra]
    sound = [(u, i, *(["1"] * len(extra))) for u, i in (("u", "a"), ("v", "a"), ("w", "a"))]
    return pl.DataFrame(sound + rows, schema=dict.fromkeys(names, pl.String), orient="row")


def _reasons(data: Dataset) -> list[tuple[str, int, str]]:
    return data.quarantine.rows.select("table", "row", "reason").rows()


# What comes out


def test_sound_tables_come_out_with_the_columns_of_the_schema() -> None:
    data = read_tables(ITEMS, PAIRS, pl.DataFrame({"user_id": ["u"], "about": ["likes sand"]}))
    assert dict(data.items.schema) == ITEM_COLUMNS
    assert dict(data.interactions.schema) == INTERACTION_COLUMNS
    assert dict(data.users.schema) == USER_COLUMNS
    assert data.users.rows() == [("u", "likes sand")]
    assert (data.warnings, data.num_below_min_rating, data.quarantine.counts) == ((), 0, {})


def test_without_times_the_rows_are_in_order() -> None:
    data = read_tables(ITEMS, PAIRS)
    assert data.interactions.select("user_id", "item_id", "position").rows() == [
        ("u", "a", 0),
        ("u", "b", 1),
        ("v", "c", 0),
        ("v", "a", 1),
    ]
    assert data.has_order
    assert not read_tables(ITEMS, PAIRS, ordered=False).has_order


def test_times_decide_the_order_and_ties_keep_the_order_of_rows() -> None:
    pairs = pl.DataFrame(
        {
            "user_id": ["v", "u", "u", "u", "v"],
            "item_id": ["a", "c", "b", "a", "b"],
            "timestamp": ["3", "2", "1", "2", "3"],
        }
    )
    data = read_tables(ITEMS, pairs, ordered=False)
    assert data.interactions.select("user_id", "item_id", "position").rows() == [
        ("v", "a", 0),
        ("v", "b", 1),
        ("u", "b", 0),
        ("u", "c", 1),
        ("u", "a", 2),
    ]
    assert data.has_order


@pytest.mark.parametrize(
    ("text", "moment"),
    [
        ("1706702400", dt.datetime(2024, 1, 31, 12)),
        ("1706702400.0", dt.datetime(2024, 1, 31, 12)),
        ("1.7067024e9", dt.datetime(2024, 1, 31, 12)),
        ("-86400", dt.datetime(1969, 12, 31)),
        ("2024-01-31", dt.datetime(2024, 1, 31)),
        (" 2024-01-31 ", dt.datetime(2024, 1, 31)),
        ("2024-01-31 12:30", dt.datetime(2024, 1, 31, 12, 30)),
        ("2024-01-31T12:30:15", dt.datetime(2024, 1, 31, 12, 30, 15)),
        ("2024-01-31T12:30:15.250Z", dt.datetime(2024, 1, 31, 12, 30, 15, 250000)),
        ("2024-01-31T12:30:15+02:00", dt.datetime(2024, 1, 31, 10, 30, 15)),
        ("2024-01-31T12:30:15 -0530", dt.datetime(2024, 1, 31, 18, 0, 15)),
        ("2024-01-31t12:30:15+02", dt.datetime(2024, 1, 31, 10, 30, 15)),
    ],
)
def test_times_are_seconds_since_1970_in_utc(text: str, moment: dt.datetime) -> None:
    data = read_tables(ITEMS, _interactions([("u", "b", text)], "timestamp"))
    times = data.interactions.filter(pl.col("item_id") == "b")["timestamp"]
    assert times.to_list() == [moment.replace(tzinfo=dt.timezone.utc).timestamp()]


@settings(deadline=None, max_examples=50)
@given(
    moment=st.datetimes(dt.datetime(1900, 1, 1), dt.datetime(2100, 1, 1)),
    offset=st.integers(-14 * 60, 14 * 60),
)
def test_any_iso_time_is_read_as_python_reads_it(moment: dt.datetime, offset: int) -> None:
    moment = moment.replace(tzinfo=dt.timezone(dt.timedelta(minutes=offset)))
    data = read_tables(ITEMS, _interactions([("u", "b", moment.isoformat())], "timestamp"))
    times = data.interactions.filter(pl.col("item_id") == "b")["timestamp"].to_list()
    assert times == [pytest.approx(moment.timestamp(), abs=1e-5)]


def test_ids_keep_spaces_quotes_emoji_and_leading_zeros() -> None:
    ids = ["a b", " a", 'a"', "三体", "🚀", "007", "1e5", "NaN"]
    items = pl.DataFrame({"item_id": ids, "title": ids})
    pairs = pl.DataFrame({"user_id": ["u "] * 4 + ["u"] * 4, "item_id": ids})
    data = read_tables(items, pairs)
    assert data.items["item_id"].to_list() == ids
    assert data.interactions["item_id"].to_list() == ids
    assert data.interactions["user_id"].n_unique() == 2


def test_numbers_in_parquet_meet_the_same_ids_in_csv(tmp_path: Path) -> None:
    (tmp_path / "items.csv").write_text("item_id,title\n1,A\n2,B\n")
    pairs = pl.DataFrame({"user_id": [1, 2], "item_id": [1.0, 2.0]})
    pairs.write_parquet(tmp_path / "pairs.parquet")
    data = read_tables(tmp_path / "items.csv", tmp_path / "pairs.parquet")
    assert data.interactions.select("user_id", "item_id").rows() == [("1", "1"), ("2", "2")]


def test_text_columns_are_joined_and_the_first_is_the_title() -> None:
    items = pl.DataFrame(
        {
            "item_id": ["a", "b", "c", "d", "e"],
            "title": ["Who?", "  Dune \n Messiah ", "", "三体。", "End."],
            "year": ["1965", "1969", "", "2008", "1"],
            "text": ["A riddle", "Sand.", "No title", "科幻", ""],
        }
    )
    data = read_tables(items, PAIRS)
    assert data.items["title"].to_list() == ["Who?", "Dune Messiah", "", "三体。", "End."]
    assert data.items["text"].to_list() == [
        "Who? A riddle",
        "Dune Messiah. Sand.",
        "No title",
        "三体。 科幻",
        "End.",
    ]
    assert any("year not taken as text" in warning for warning in data.warnings)


def test_named_text_columns_are_taken_in_their_order() -> None:
    items = pl.DataFrame({"item_id": ["a", "b"], "x": ["1", "2"], "y": ["A", "B"], "z": ["", "Z"]})
    data = read_tables(items, PAIRS.filter(pl.col("item_id") != "c"), item_text=["y", "x"])
    assert data.items["text"].to_list() == ["A. 1", "B. 2"]


def test_other_column_names_are_mapped() -> None:
    items = ITEMS.rename({"item_id": "isbn", "title": "name"})
    pairs = PAIRS.rename({"item_id": "isbn", "user_id": "reader"}).with_columns(
        pl.lit("5").alias("stars"), pl.int_range(4, 0, -1).alias("when")
    )
    data = read_tables(
        items, pairs, item_id="isbn", user_id="reader", timestamp="when", rating="stars"
    )
    assert data.interactions["item_id"].to_list() == ["b", "a", "a", "c"]
    assert data.interactions["rating"].to_list() == [5.0] * 4


def _rated(*rows: tuple[str, str, str]) -> pl.DataFrame:
    return pl.DataFrame(rows, schema=["user_id", "item_id", "rating"], orient="row")


def test_rows_below_the_minimal_rating_are_counted_not_set_aside() -> None:
    pairs = _rated(("u", "a", "3.5"), ("u", "b", "2"), ("v", "c", "4"))
    data = read_tables(ITEMS, pairs, min_rating=3.5)
    assert data.interactions.select("user_id", "item_id").rows() == [("u", "a"), ("v", "c")]
    assert data.num_below_min_rating == 1
    assert data.quarantine.counts == {}


def test_a_low_rating_does_not_hide_a_later_high_one_of_the_same_pair() -> None:
    pairs = _rated(("u", "a", "1"), ("u", "a", "5"), ("v", "c", "4"))
    data = read_tables(ITEMS, pairs, min_rating=3.0)
    assert data.interactions["rating"].to_list() == [5.0, 4.0]
    assert data.quarantine.counts == {}


def test_an_empty_rating_is_no_fault_where_none_is_needed() -> None:
    data = read_tables(ITEMS, _interactions([("u", "b", "")], "rating"))
    assert data.interactions.filter(pl.col("item_id") == "b")["rating"].to_list() == [None]


# The digest

_FORMATS = ["csv", "csv.gz", "tsv", "tsv.gz", "jsonl", "jsonl.gz", "parquet"]


def _save(frame: pl.DataFrame, path: Path) -> Path:
    name = path.name
    plain = path.with_name(name.removesuffix(".gz"))
    if "jsonl" in name:
        frame.write_ndjson(plain)
    elif name.endswith("parquet"):
        frame.write_parquet(plain)
    else:
        frame.write_csv(plain, separator="\t" if "tsv" in name else ",")
    if name.endswith(".gz"):
        path.write_bytes(gzip.compress(plain.read_bytes()))
    return path


@pytest.mark.parametrize("ending", _FORMATS)
def test_the_digest_does_not_depend_on_the_form_of_the_files(tmp_path: Path, ending: str) -> None:
    pairs = PAIRS.with_columns(pl.Series("timestamp", [1, 2, 3, 4]), pl.lit(4.5).alias("rating"))
    items = ITEMS.with_columns(pl.Series("text", ['with "quotes", and commas', "é 三体", ""]))
    data = read_tables(
        _save(items, tmp_path / f"items.{ending}"), _save(pairs, tmp_path / f"pairs.{ending}")
    )
    assert data.sha256 == read_tables(items, pairs).sha256
    assert data.items.equals(read_tables(items, pairs).items)


def test_the_digest_changes_with_any_value() -> None:
    pairs = PAIRS.with_columns(pl.Series("timestamp", [1, 2, 3, 4]))
    users = pl.DataFrame({"user_id": ["u"], "about": ["x"]})
    digests = {
        read_tables(*tables).sha256
        for tables in (
            (ITEMS, pairs, users),
            (ITEMS, pairs),
            (ITEMS, PAIRS),
            (ITEMS, pairs.with_columns(pl.col("timestamp") + 1)),
            (ITEMS.with_columns(pl.col("title").replace("Emma", "Emm")), pairs),
            (ITEMS, pairs.with_columns(pl.lit(3).alias("rating"))),
            (ITEMS.reverse(), pairs),
        )
    }
    assert len(digests) == 7


def test_the_digest_tells_where_one_text_ends() -> None:
    one = pl.DataFrame({"item_id": ["a", "b"], "title": ["xy", "z"]})
    other = pl.DataFrame({"item_id": ["a", "b"], "title": ["x", "yz"]})
    pairs = PAIRS.filter(pl.col("item_id") != "c")
    assert read_tables(one, pairs).sha256 != read_tables(other, pairs).sha256


# Rows set aside


@pytest.mark.parametrize("blank", ["", "  ", "\t", "\u3000"])
def test_missing_ids_are_set_aside_in_every_table(blank: str) -> None:
    items = ITEMS.vstack(pl.DataFrame({"item_id": [blank], "title": ["No id"]}))
    users = pl.DataFrame({"user_id": ["u", blank], "about": ["x", "y"]})
    data = read_tables(items, _interactions([(blank, "a"), ("u", blank)]), users)
    assert _reasons(data) == [
        ("items", 4, "missing_id"),
        ("interactions", 4, "missing_id"),
        ("interactions", 5, "missing_id"),
        ("users", 2, "missing_id"),
    ]
    assert data.quarantine.rows["detail"][2] == "`item_id` is empty"


def test_ids_with_nul_bytes_are_set_aside() -> None:
    items = ITEMS.vstack(pl.DataFrame({"item_id": ["a\x00"], "title": ["x"]}))
    data = read_tables(items, _interactions([("u\x00", "a")]))
    assert _reasons(data) == [("items", 4, "bad_id"), ("interactions", 4, "bad_id")]


def test_unknown_items_are_set_aside_with_their_id() -> None:
    data = read_tables(ITEMS, _interactions([("u", "nope")]))
    assert _reasons(data) == [("interactions", 4, "unknown_item")]
    assert "'nope'" in data.quarantine.rows["detail"][0]
    content = json.loads(data.quarantine.rows["content"][0])
    assert content == {"user_id": "u", "item_id": "nope"}


@pytest.mark.parametrize(
    "time", ["", "soon", "2024-02-30", "2024-01-31T25:00", "nan", "inf", "1706702400000", "31.1.24"]
)
def test_unreadable_times_are_set_aside(time: str) -> None:
    data = read_tables(ITEMS, _interactions([("u", "b", time)], "timestamp"))
    assert _reasons(data) == [("interactions", 4, "bad_timestamp")]
    assert f"'{time}' is no number of seconds" in data.quarantine.rows["detail"][0]


@pytest.mark.parametrize("rating", ["five", "nan", "inf", "-inf", "4,5"])
def test_unreadable_ratings_are_set_aside(rating: str) -> None:
    data = read_tables(ITEMS, _interactions([("u", "b", rating)], "rating"))
    assert _reasons(data) == [("interactions", 4, "bad_rating")]


def test_an_empty_rating_is_set_aside_where_one_is_needed() -> None:
    data = read_tables(ITEMS, _interactions([("u", "b", "")], "rating"), min_rating=1)
    assert _reasons(data) == [("interactions", 4, "bad_rating")]


def test_the_first_of_duplicate_items_and_users_is_kept() -> None:
    items = ITEMS.vstack(pl.DataFrame({"item_id": ["a"], "title": ["Another"]}))
    users = pl.DataFrame({"user_id": ["u", "u"], "about": ["first", "second"]})
    data = read_tables(items, PAIRS, users)
    assert _reasons(data) == [("items", 4, "duplicate_item"), ("users", 2, "duplicate_user")]
    assert data.items["title"][0] == "Dune"
    assert data.users.rows() == [("u", "first")]


def test_the_first_pair_by_time_is_kept() -> None:
    pairs = _interactions([("u", "b", "30"), ("u", "b", "20"), ("u", "c", "25")], "timestamp")
    data = read_tables(ITEMS, pairs)
    assert _reasons(data) == [("interactions", 4, "duplicate_pair")]
    assert data.interactions.filter(user_id="u")["item_id"].to_list() == ["a", "b", "c"]


def test_repeated_pairs_never_count_as_too_many_rejected_rows() -> None:
    data = read_tables(ITEMS, pl.concat([PAIRS] * 10), max_quarantined_share=0.0)
    assert data.quarantine.counts == {"interactions: duplicate_pair": 36}
    assert data.interactions.height == 4


def test_broken_rows_of_files_reach_the_quarantine(tmp_path: Path) -> None:
    (tmp_path / "items.csv").write_bytes(b"item_id,title\na,A\nb,\xff\nc,C,C\nd,D\n")
    pairs = PAIRS.with_columns(pl.col("item_id").replace({"b": "d", "c": "d"}))
    data = read_tables(tmp_path / "items.csv", pairs)
    assert _reasons(data) == [("items", 2, "bad_encoding"), ("items", 3, "bad_row")]
    assert data.quarantine.rows["file"].unique().to_list() == [str(tmp_path / "items.csv")]


def test_the_quarantine_is_written_as_one_jsonl_a_table(tmp_path: Path) -> None:
    items = ITEMS.vstack(pl.DataFrame({"item_id": ["a"], "title": ['Zwölf "三体"']}))
    data = read_tables(items, _interactions([("u", "nope")]))
    (tmp_path / "users.jsonl").write_text("left by an earlier run")
    written = write_quarantine(data.quarantine, tmp_path)
    assert [path.name for path in written] == ["items.jsonl", "interactions.jsonl"]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["interactions.jsonl", "items.jsonl"]
    assert [json.loads(line) for line in written[0].read_text("utf-8").splitlines()] == [
        {
            "file": "<frame>",
            "row": 4,
            "reason": "duplicate_item",
            "detail": "item 'a' stands in an earlier row, which is kept",
            "content": {"item_id": "a", "title": 'Zwölf "三体"'},
        }
    ]


def test_broken_bytes_can_be_written_to_the_quarantine(tmp_path: Path) -> None:
    (tmp_path / "items.csv").write_bytes(b"item_id,title\na,A\nb,B\nc,C\nd,\xff\n")
    data = read_tables(tmp_path / "items.csv", PAIRS)
    (path,) = write_quarantine(data.quarantine, tmp_path / "quarantine")
    assert json.loads(path.read_text("utf-8"))["content"] == ["d", "\udcff"]


@settings(deadline=None, max_examples=50)
@given(
    rows=st.lists(
        st.tuples(
            st.sampled_from(["u", "v", "w", "", "x\x00"]),
            st.sampled_from(["a", "b", "c", "nope", ""]),
            st.sampled_from(["1", "2", "2024-01-31", "soon", ""]),
            st.sampled_from(["1", "5", "nan", ""]),
        ),
        max_size=12,
    )
)
def test_each_row_is_kept_or_set_aside_or_below_the_rating(rows: list[tuple[str, ...]]) -> None:
    pairs = _interactions(rows, "timestamp", "rating")
    data = read_tables(ITEMS, pairs, min_rating=1.0, max_quarantined_share=1.0)
    kept, aside = data.interactions.height, data.quarantine.rows.height
    assert kept + aside + data.num_below_min_rating == pairs.height
    assert data.quarantine.rows["row"].is_unique().all()
    assert not data.interactions.select("user_id", "item_id").is_duplicated().any()
    for _, user in data.interactions.group_by("user_id"):
        assert user["position"].to_list() == list(range(user.height))
        assert user["timestamp"].is_sorted()


# Warnings


def test_items_without_text_are_counted_in_a_warning() -> None:
    items = ITEMS.with_columns(pl.col("title").replace("Emma", " "))
    data = read_tables(items, PAIRS)
    assert data.items.height == 3
    assert data.warnings == ("<frame> (items): 1 of 3 rows have no text",)


def test_users_need_not_all_have_text() -> None:
    data = read_tables(ITEMS, PAIRS, pl.DataFrame({"user_id": ["u", "v"], "about": ["x", ""]}))
    assert data.users.rows() == [("u", "x"), ("v", "")]
    assert data.warnings == ()


def test_equal_texts_are_a_warning() -> None:
    data = read_tables(ITEMS.with_columns(pl.lit("same").alias("title")), PAIRS)
    assert data.warnings == ("<frame> (items): all 3 texts are equal, so text tells nothing apart",)


def test_users_without_any_text_are_a_warning() -> None:
    data = read_tables(ITEMS, PAIRS, pl.DataFrame({"user_id": ["u"], "age": ["30"]}))
    assert any("(users): no row has any text" in warning for warning in data.warnings)


# Items alone


def test_items_alone_are_read_as_with_the_other_tables() -> None:
    items = ITEMS.vstack(pl.DataFrame({"item_id": ["a"], "title": [""]}))
    frame, quarantine, warnings = read_items(items)
    whole = read_tables(items, PAIRS)
    assert frame.equals(whole.items)
    assert quarantine.rows.equals(whole.quarantine.rows)
    assert warnings == whole.warnings


# Refusals


def _refusal(*tables: Any, **settings_: Any) -> str:
    with pytest.raises(DataError) as caught:
        read_tables(*tables, **settings_)
    return str(caught.value)


@pytest.mark.parametrize(
    ("table", "column", "key"),
    [(0, "item_id", "item_id"), (1, "item_id", "item_id"), (1, "user_id", "user_id")],
)
def test_a_missing_column_names_the_nearest_and_its_setting(
    table: int, column: str, key: str
) -> None:
    tables = [ITEMS, PAIRS]
    near = column.replace("_id", "Id")
    tables[table] = tables[table].rename({column: near})
    message = _refusal(*tables)
    assert f"no column '{column}'" in message
    assert f"the nearest is '{near}': set data.columns.{key}: {near}" in message


@pytest.mark.parametrize("key", ["timestamp", "rating"])
def test_a_missing_time_or_rating_column_names_the_nearest(key: str) -> None:
    message = _refusal(ITEMS, PAIRS.with_columns(pl.lit("1").alias("times")), **{key: "time"})
    assert f"the nearest is 'times': set data.columns.{key}: times" in message


def test_a_missing_text_column_names_the_nearest() -> None:
    message = _refusal(ITEMS, PAIRS, item_text=["titel"])
    assert "no column 'titel'" in message and "data.columns.item_text: title" in message


def test_a_minimal_rating_needs_ratings() -> None:
    assert "set data.columns.rating" in _refusal(ITEMS, PAIRS, min_rating=4)


def test_a_wrong_separator_is_recognised(tmp_path: Path) -> None:
    (tmp_path / "items.csv").write_text("item_id;title\na;A\nb;B\n")
    assert "separated by ';'" in _refusal(tmp_path / "items.csv", PAIRS)


def test_one_user_is_not_enough() -> None:
    message = _refusal(ITEMS, PAIRS.filter(user_id="u"))
    assert "only the user 'u'" in message and "at least two users" in message


def test_one_item_is_not_enough() -> None:
    message = _refusal(ITEMS.head(1), PAIRS, max_quarantined_share=1)
    assert "only one item" in message


def test_a_minimal_rating_that_leaves_nothing_says_so() -> None:
    message = _refusal(ITEMS, PAIRS.with_columns(pl.lit(3).alias("rating")), min_rating=4)
    assert "leaves no interaction, after 4 rows under data.min_rating = 4" in message


def test_items_without_any_text_are_refused() -> None:
    blank = ITEMS.with_columns(pl.lit(" ").alias("title"))
    message = _refusal(blank, PAIRS, item_text=["title"])
    assert "no row has any text; columns looked at: title" in message
    assert "data.columns.item_text" in message
    assert "it has no text column" in _refusal(ITEMS.drop("title"), PAIRS)


def test_too_many_rejected_rows_name_the_reasons_and_the_first_example() -> None:
    rows = [("u", "x1"), ("u", "x2"), ("", "a"), ("u", "x3")]
    message = _refusal(ITEMS, _interactions(rows), max_quarantined_share=0.5)
    assert "4 of 7 rows cannot be used (unknown_item 3, missing_id 1)" in message
    assert "data.max_quarantined_share = 0.5" in message
    assert "row 4, item 'x1' is not in the table of items" in message
    assert "must write item ids alike" in message
    assert read_tables(ITEMS, _interactions(rows), max_quarantined_share=0.6).interactions.height


def test_times_in_milliseconds_are_refused_with_advice() -> None:
    pairs = PAIRS.with_columns(pl.lit(1706702400000).alias("timestamp"))
    message = _refusal(ITEMS, pairs)
    assert "bad_timestamp 4" in message and "seconds since 1970" in message


def test_a_table_of_nothing_but_bad_rows_is_refused_at_any_share() -> None:
    message = _refusal(
        ITEMS, PAIRS.with_columns(pl.lit("").alias("user_id")), max_quarantined_share=1
    )
    assert "4 of 4 rows cannot be used (missing_id 4), so nothing is left" in message


def test_a_file_in_another_encoding_is_refused_with_advice(tmp_path: Path) -> None:
    (tmp_path / "items.csv").write_bytes("item_id,title\na,é\nb,ü\nc,C\n".encode("latin-1"))
    message = _refusal(tmp_path / "items.csv", PAIRS)
    assert "bad_encoding 2" in message and "Save the file as UTF-8" in message


def test_the_columns_that_were_taken_as_text_are_noted() -> None:
    items = pl.DataFrame({"id": ["a", "b"], "year": [1, 2], "name": ["Dune", "Emma"]})
    clicks = pl.DataFrame({"user_id": list("uuvv"), "id": list("baab")})
    taken = read_tables(items, clicks, item_id="id")
    assert (taken.item_id_column, taken.item_text_columns) == ("id", ("name",))
    named = read_tables(items, clicks, item_id="id", item_text=["name", "year"])
    assert named.item_text_columns == ("name", "year")
