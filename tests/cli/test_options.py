from __future__ import annotations

import csv
import io

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tfrec_llm.cli.options import split_ids
from tfrec_llm.errors import UsageError

IDS = st.lists(st.text(st.characters(exclude_categories=["Cs", "Cc", "Z"]), min_size=1), min_size=1)


@given(ids=IDS)
def test_ids_written_as_a_csv_row_come_back(ids: list[str]) -> None:
    row = io.StringIO()
    csv.writer(row, lineterminator="").writerow(ids)
    assert split_ids([row.getvalue()], "--history") == ids


def test_a_repeated_option_adds_its_ids_in_order() -> None:
    assert split_ids(["a,b", "c"], "--history") == ["a", "b", "c"]


@pytest.mark.parametrize("values", [None, [], [""], [" , ,"]])
def test_nothing_gives_no_ids(values: list[str] | None) -> None:
    assert split_ids(values, "--history") == []


@pytest.mark.parametrize("value", ['"a', '"a"b', "a\rb"])
def test_a_broken_list_is_told_with_the_option(value: str) -> None:
    with pytest.raises(UsageError, match="--exclude .* is not a list of ids"):
        split_ids([value], "--exclude")
