from __future__ import annotations

import subprocess
import sys
from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tfrec_llm.text.augment_text import augment_text, augment_texts

TEXT = "Dune. Sand and spice. A young duke flees into the desert, and comes back with an army."
SHARES = st.floats(0.0, 0.99)


def copies_of(text: str = TEXT, number: int = 40, **options: object) -> list[str]:
    settings_ = {"token_dropout": 0.0, "span_deletion": 0.0, "swap_fields": False} | options
    return [
        augment_text(text, seed=7, item_id="b1", copy=copy, **settings_)  # type: ignore[arg-type]
        for copy in range(number)
    ]


@settings(deadline=None, max_examples=200)
@given(
    text=st.text(max_size=60) | st.text("ab .!?\t\n沙丘。", max_size=40),
    dropout=SHARES,
    deletion=SHARES,
    swap=st.booleans(),
    copy=st.integers(0, 5),
    num_title=st.integers(0, 10),
)
def test_a_text_never_becomes_empty_and_nothing_is_invented(
    text: str, dropout: float, deletion: float, swap: bool, copy: int, num_title: int
) -> None:
    copied = augment_text(
        text,
        seed=3,
        item_id="x",
        copy=copy,
        title=text[:num_title],
        token_dropout=dropout,
        span_deletion=deletion,
        swap_fields=swap,
    )
    assert bool(copied.strip()) == bool(text.strip())
    new = Counter(copied) - Counter(text)
    assert set(new) <= {".", " "} and new.total() <= 2  # the mark between swapped fields


def test_all_off_leaves_the_text_alone() -> None:
    assert set(copies_of()) == {TEXT}


def test_token_dropout_leaves_out_about_its_share_of_the_words() -> None:
    text = " ".join(f"w{n}" for n in range(100))
    left = [len(copy.split()) for copy in copies_of(text, token_dropout=0.3)]
    assert 67 <= sum(left) / len(left) <= 73 and len(set(left)) > 3


def test_the_words_that_stay_keep_their_order() -> None:
    text = " ".join(f"{n:03d}" for n in range(100))
    for copy in copies_of(text, token_dropout=0.3, span_deletion=0.3):
        assert copy.split() == sorted(copy.split())


def test_span_deletion_cuts_one_span_of_its_share() -> None:
    words = [f"w{n}" for n in range(20)]
    begins = set()
    for copy in copies_of(" ".join(words), span_deletion=0.25):
        left = copy.split()
        begin = next((i for i, (a, b) in enumerate(zip(left, words)) if a != b), 15)  # noqa: B905
        assert left == words[:begin] + words[begin + 5 :]
        begins.add(begin)
    assert 0 in begins and 15 in begins


def test_chinese_loses_single_characters_and_gains_no_spaces() -> None:
    text = "沙丘是一部关于沙漠星球的小说"
    copies = copies_of(text, token_dropout=0.3)
    assert all(set(copy) <= set(text) for copy in copies)
    assert len({len(copy) for copy in copies}) > 2


@pytest.mark.parametrize(
    ("text", "title", "swapped"),
    [
        ("Dune. Sand and spice", "Dune", "Sand and spice. Dune"),
        ("Who? Nobody knows.", "Who?", "Nobody knows. Who?"),
        ("Dune", "Dune", "Dune"),
        ("One. Two.", "", "Two. One."),
        ("沙丘。沙漠", "", "沙漠. 沙丘。"),
        ("One sentence only", "", "One sentence only"),
        ("", "", ""),
    ],
)
def test_fields_change_places_in_about_half_of_the_copies(
    text: str, title: str, swapped: str
) -> None:
    copies = Counter(copies_of(text, 100, title=title, swap_fields=True))
    assert set(copies) == {text, swapped}
    assert text == swapped or 30 <= copies[swapped] <= 70


def test_a_copy_depends_on_seed_item_and_number_but_not_on_its_neighbours() -> None:
    texts, ids = [TEXT, "Emma. A matchmaker who is often wrong."], ["b1", "b2"]
    both = augment_texts(texts, ids, copies=2, seed=7)
    assert both[1::2] == augment_texts(texts[1:], ids[1:], copies=2, seed=7)
    assert augment_texts(texts[::-1], ids[::-1], copies=2, seed=7)[::2] == both[1::2]
    assert both[0] != both[2]
    assert augment_texts(texts, ids, copies=2, seed=8) != both
    assert augment_texts(texts, ["c1", "c2"], copies=2, seed=7) != both


def test_copies_are_the_first_of_all_then_the_second_of_all() -> None:
    titles = ["Dune", "Emma"]
    made = augment_texts([TEXT, "Emma. Wrong."], ["b1", "b2"], copies=3, seed=7, titles=titles)
    assert len(made) == 6
    assert made[4] == augment_text(TEXT, seed=7, item_id="b1", copy=3, title="Dune")
    assert augment_texts([TEXT], ["b1"], copies=0, seed=7) == []


@pytest.mark.parametrize("name", ["token_dropout", "span_deletion"])
@pytest.mark.parametrize("share", [-0.1, 1.0, float("nan")])
def test_shares_out_of_bounds_are_refused(name: str, share: float) -> None:
    with pytest.raises(ValueError, match=rf"`{name}` must lie in \[0, 1\)"):
        copies_of(**{name: share})


def test_sizes_must_agree() -> None:
    with pytest.raises(ValueError, match="of one size, got 1, 2 and 1"):
        augment_texts(["a"], ["b", "c"], copies=1, seed=7)


def test_no_tensorflow_is_loaded() -> None:
    code = "import sys, tfrec_llm.text.augment_text; sys.exit('tensorflow' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
