from __future__ import annotations

import polars as pl
from hypothesis import given
from hypothesis import strategies as st

from tfrec_llm.data.catalogue_changes import catalogue_changes

catalogues = st.dictionaries(
    st.sampled_from("abcdefgh"), st.tuples(st.sampled_from("XY"), st.sampled_from("xyz"))
)


def _frame(items: dict[str, tuple[str, str]]) -> pl.DataFrame:
    schema = {"item_id": pl.String, "title": pl.String, "text": pl.String}
    return pl.DataFrame([(i, *row) for i, row in items.items()], schema, orient="row")


@given(before=catalogues, now=catalogues)
def test_every_item_is_counted_once_and_found_where_it_stood(
    before: dict[str, tuple[str, str]], now: dict[str, tuple[str, str]]
) -> None:
    changes = catalogue_changes(_frame(before), _frame(now))
    ids = changes.items["item_id"].to_list()
    assert ids == [i for i in before if i in now] + [i for i in now if i not in before]
    places = {i: n for n, i in enumerate(before)}
    assert changes.previous.tolist() == [places.get(i, -1) for i in ids]
    assert {i: (t, x) for i, t, x in changes.items.iter_rows()} == now
    new_text = [i not in before or before[i][1] != now[i][1] for i in ids]
    assert changes.has_new_text.tolist() == new_text
    assert changes.num_removed == len(set(before) - set(now))
    assert changes.num_new == len(set(now) - set(before))
    assert changes.num_changed == sum(i in before and before[i] != now[i] for i in now)
    assert changes.num_unchanged == sum(before.get(i) == now[i] for i in now)
    assert changes.is_nothing is (before == now)


def test_a_text_that_was_not_noted_counts_as_another() -> None:
    before = _frame({"a": ("A", "x")}).with_columns(text=pl.lit(None, pl.String))
    changes = catalogue_changes(before, _frame({"a": ("A", "x")}))
    assert changes.has_new_text.tolist() == [True] and changes.num_changed == 1
