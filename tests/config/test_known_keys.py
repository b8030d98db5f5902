from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tfrec_llm.config.known_keys import describe, known_keys, nearest_key


def test_every_key_is_described_in_words() -> None:
    for key, schema in known_keys().items():
        assert describe(schema) not in ("", "anything"), key


def test_sections_within_sections_are_known() -> None:
    assert ("data", "columns", "item_text") in known_keys()


@pytest.mark.parametrize("key", sorted(known_keys()))
def test_a_key_is_nearest_to_itself_and_to_its_other_spellings(key: tuple[str, ...]) -> None:
    value = {} if "properties" in known_keys()[key] else 1
    assert nearest_key(key, value) == key
    assert nearest_key((*key[:-1], key[-1].upper().replace("_", "-")), value) == key


@given(key=st.lists(st.text(), min_size=1).map(tuple), value=st.none() | st.just({}))
def test_there_is_always_a_nearest_key(key: tuple[str, ...], value: object) -> None:
    assert nearest_key(key, value) in known_keys()
