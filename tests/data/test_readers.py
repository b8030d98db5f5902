"""The named data sets: their sizes, texts and order, and what a wrong folder says."""

from __future__ import annotations

import gzip
from pathlib import Path

import polars as pl
import pytest

from tfrec_llm.data.readers import (
    READERS,
    read_bookshop,
    read_goodbooks,
    read_microlens,
    read_movielens,
)
from tfrec_llm.data.schema import Dataset
from tfrec_llm.errors import DataError


def _sizes(data: Dataset) -> tuple[int, int, int]:
    users = data.interactions["user_id"].n_unique()
    return users, data.items.height, data.interactions.height


def test_every_reader_is_listed_by_its_name() -> None:
    assert sorted(READERS) == ["bookshop", "goodbooks", "microlens", "movielens"]


def test_the_bookshop_comes_whole_with_order_and_user_texts() -> None:
    data = read_bookshop()
    assert data.quarantine.counts == {} and data.warnings == ()
    assert data.has_order and data.interactions["timestamp"].null_count() == 0
    assert (data.items["text"].str.len_chars() > data.items["title"].str.len_chars()).all()
    assert (data.users["text"] != "").mean() >= 0.3  # type: ignore[operator]


def test_a_bookshop_of_one_s_own_takes_title_author_and_description(tmp_path: Path) -> None:
    (tmp_path / "items.csv").write_text(
        "item_id,title,author,shelf,description\na,A,Ann,x,About a\nb,B,Ben,x,About b\n"
    )
    (tmp_path / "users.csv").write_text("user_id,about\nu,likes a\n")
    (tmp_path / "interactions.csv").write_text(
        "user_id,item_id,timestamp\nu,a,2024-01-02\nu,b,2024-01-01\nv,a,2024-01-01\n"
    )
    data = read_bookshop(tmp_path)
    assert data.items["text"].to_list() == ["A. Ann. About a", "B. Ben. About b"]
    assert data.interactions["item_id"].to_list() == ["b", "a", "a"]


def test_the_bookshop_is_large_enough_for_every_protocol() -> None:
    lengths = read_bookshop().interactions["user_id"].value_counts()["count"]
    assert int((lengths >= 3).sum()) >= 40


@pytest.mark.data
def test_movielens_has_the_published_sizes(shared_data: Path) -> None:
    data = read_movielens(shared_data / "movielens-small", min_rating=None)
    assert _sizes(data) == (671, 9_066, 100_004)
    assert data.quarantine.counts == {} and data.warnings == ()
    assert data.has_order
    first = data.items.row(0, named=True)
    assert first["title"] == "Toy Story (1995)"
    assert first["text"].startswith(
        "Toy Story (1995). Adventure, Animation, Children, Comedy, Fantasy. Led by Woody,"
    )


@pytest.mark.data
def test_movielens_takes_four_stars_and_more_as_positives(shared_data: Path) -> None:
    data = read_movielens(shared_data / "movielens-small")
    assert data.interactions["rating"].min() == 4.0
    assert data.interactions.height + data.num_below_min_rating == 100_004


@pytest.mark.data
def test_microlens_has_the_published_sizes_and_order(shared_data: Path) -> None:
    data = read_microlens(shared_data / "microlens-50k")
    assert _sizes(data) == (50_000, 19_220, 359_708)
    assert data.quarantine.counts == {} and data.warnings == ()
    assert data.has_order
    first = data.interactions.filter(user_id="1")
    assert first["item_id"].to_list() == ["1958", "6346", "15223", "17700", "1707"]
    assert (data.items["text"] != "").all()


@pytest.mark.data
def test_goodbooks_has_the_published_sizes_and_no_order(shared_data: Path) -> None:
    data = read_goodbooks(shared_data / "goodbooks-10k", min_rating=None)
    assert _sizes(data) == (53_424, 10_000, 979_478)
    assert data.quarantine.counts == {} and data.warnings == ()
    assert not data.has_order
    second = data.items.row(1, named=True)
    assert second["text"].startswith(
        "Harry Potter and the Sorcerer's Stone (Harry Potter, #1). J.K. Rowling, Mary GrandPré. In"
    )


def _microlens(folder: Path, lines: bytes) -> Path:
    (folder / "items.csv").write_text('itemId,title\n1,"One, ""a"""\n2,NaN\n3,Three\n')
    (folder / "pairs.tsv.gz").write_bytes(gzip.compress(lines))
    return folder


def test_microlens_lines_become_interactions_in_their_order(tmp_path: Path) -> None:
    data = read_microlens(_microlens(tmp_path, b"7\t3 1\n8\t2\n"))
    assert data.interactions.select("user_id", "item_id", "position").rows() == [
        ("7", "3", 0),
        ("7", "1", 1),
        ("8", "2", 0),
    ]
    assert data.items["title"].to_list() == ['One, "a"', "NaN", "Three"]


def test_microlens_lines_that_are_broken_are_set_aside(tmp_path: Path) -> None:
    data = read_microlens(_microlens(tmp_path, b"7\t3 1\nno tab\n8\t2 99 1\n9\t1\n"))
    found = data.quarantine.rows.select("row", "reason")
    assert found.rows() == [(2, "bad_row"), (3, "unknown_item")]
    assert data.interactions.height == 5


def test_microlens_has_no_ratings_to_filter_by(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no column 'rating'"):
        read_microlens(_microlens(tmp_path, b"7\t3 1\n8\t2\n"), min_rating=4.0)


@pytest.mark.parametrize("name", ["bookshop", "goodbooks", "microlens", "movielens"])
def test_a_folder_without_the_files_names_them(tmp_path: Path, name: str) -> None:
    with pytest.raises(DataError, match=r"data\.folder\) lacks .*\.csv.*it must hold"):
        READERS[name](tmp_path)


def test_a_missing_folder_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"nowhere \(data\.folder\) is no folder"):
        read_movielens(tmp_path / "nowhere")


def test_genres_are_listed_with_commas(tmp_path: Path) -> None:
    items = pl.DataFrame(
        {
            "movieId": ["1", "2"],
            "title": ["A", "B"],
            "genres": ["Drama|War", ""],
            "overview": ["", "Text."],
        }
    )
    items.write_csv(tmp_path / "items.csv")
    (tmp_path / "ratings.csv").write_text(
        "userId,movieId,rating,timestamp\n1,1,4.0,5\n1,2,3.5,6\n2,2,5.0,7\n"
    )
    data = read_movielens(tmp_path)
    assert data.items["text"].to_list() == ["A. Drama, War", "B. Text."]
    assert (data.interactions.height, data.num_below_min_rating) == (2, 1)
