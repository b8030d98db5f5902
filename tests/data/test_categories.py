from __future__ import annotations

from pathlib import Path

import pytest

from tfrec_llm.data.categories import read_categories
from tfrec_llm.errors import DataError, UsageError


@pytest.fixture
def table(tmp_path: Path) -> Path:
    path = tmp_path / "items.csv"
    path.write_text("item_id,movie,genre\n007,a,spies\n8,b, \n9,c,a|b\n007,d,other\n10,e, spies \n")
    return path


def test_ids_stay_what_they_are_and_empty_cells_are_no_category(table: Path) -> None:
    assert read_categories(f"{table}:genre") == {"007": "spies", "9": "a|b", "10": "spies"}


def test_the_column_of_ids_can_be_named(table: Path) -> None:
    found = read_categories(f"{table}:genre:movie")
    assert found == {"a": "spies", "c": "a|b", "d": "other", "e": "spies"}


def test_a_missing_column_is_named_with_the_nearest(table: Path) -> None:
    with pytest.raises(DataError, match=r"no column 'genres'\. It has: item_id, movie, genre.*"):
        read_categories(f"{table}:genres")
    with pytest.raises(DataError, match=r"no column 'moviee'.*nearest is 'movie'"):
        read_categories(f"{table}:genre:moviee")


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"nowhere\.csv .*does not exist"):
        read_categories(f"{tmp_path}/nowhere.csv:genre")


@pytest.mark.parametrize("source", ["items.csv", "", ":genre", "items.csv:", "a:b:c:d"])
def test_another_form_is_a_usage_error(source: str) -> None:
    with pytest.raises(UsageError, match="FILE:COLUMN"):
        read_categories(source)
