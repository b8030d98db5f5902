from __future__ import annotations

import os
import subprocess
import sys
import unicodedata

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from tfrec_llm.encoders.word_vocabulary import WordVocabulary, string_tensor, words_in_graph
from tfrec_llm.errors import EncoderError, UsageError
from tfrec_llm.keras_api import tf
from tfrec_llm.neighbours.words_of import words_of

# Up to U+2BFF and the scripts of words_of: letters that every Unicode version in use agrees on.
CHARACTERS = st.one_of(
    st.characters(codec="utf-8", categories=["L", "M", "N", "P", "S", "Z", "Cc", "Cf"]),
    st.sampled_from("aAzZ09_ -'ΣσςİIıJĮÌßﬁ²Ａ１é\u0301\u0307\u00ad\x00三体小说のカﾊﾟ한글𠀀豈・々"),
).filter(lambda c: unicodedata.category(c) != "Cn" and _is_in_unicode_13(c))


def _is_in_unicode_13(character: str) -> bool:
    number = ord(character)
    return not (
        number in (0x2C2F, 0x2C5F, 0xA7C0, 0xA7C1)
        or 0xA7D0 <= number < 0xA7F2
        or 0x10570 <= number < 0x105C0
        or 0x10780 <= number < 0x107C0
        or number >= 0x1CC00
        and number < 0x1CF00
    )


def in_graph(texts: list[str], **settings) -> list[list[str]]:
    found = _compiled(string_tensor(texts)) if not settings else words_in_graph(texts, **settings)
    return [[word.decode() for word in words] for words in found.to_list()]


_compiled = tf.function(words_in_graph, input_signature=[tf.TensorSpec([None], tf.string)])


@settings(max_examples=200, deadline=None)
@given(st.lists(st.text(CHARACTERS, max_size=30), max_size=4))
@example(
    ["Dune 2: 科幻小说", "", "x科幻y 書 a_b’s İstanbul", "ΟΔΟΣ ΟΔΟΣ.", "\x00a\x00b", "ＡＢＣ２"]
)
def test_words_are_those_of_the_tfidf_baseline(texts):
    expected = [words_of(unicodedata.normalize("NFKC", text.replace("\0", " "))) for text in texts]
    assert in_graph(texts) == expected


@pytest.mark.slow
def test_the_language_of_the_process_does_not_change_a_word():
    code = (
        "from tfrec_llm.encoders.word_vocabulary import words_in_graph, tf\n"
        "print(ascii([w.decode() for w in words_in_graph(tf.constant(['TITLE İJ\u0301Í'])).values"
        ".numpy()]))"
    )
    environment = {**os.environ, "LC_ALL": "tr_TR.UTF-8", "LANG": "tr_TR.UTF-8"}
    found = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True
    )
    assert found.stdout.strip() == ascii(words_of(unicodedata.normalize("NFKC", "TITLE İJ\u0301Í")))


def test_bytes_that_are_no_utf8_count_as_spaces():
    found = words_in_graph(tf.constant([b"red\xffrock"]))
    assert found.to_list() == [[b"red", b"rock"]]


def test_cleaning_comes_before_the_words():
    texts = ["<b>the red rock</b>"]
    assert in_graph(texts) == [["b", "the", "red", "rock", "b"]]
    assert in_graph(texts, clean="light") == [["the", "red", "rock"]]
    assert in_graph(texts, clean="full", stop_words=["rock"]) == [["red"]]


def test_the_most_frequent_words_are_kept_ties_by_alphabet():
    vocabulary = WordVocabulary.fit(["b a", "c b a", "d"], num_words=3)
    assert vocabulary.words == ["a", "b", "c"]


def test_numbers_leave_unknown_words_out():
    vocabulary = WordVocabulary(["sea", "科幻"])
    texts = tf.constant(["the SEA", "", "科幻小", "rock"])
    assert vocabulary.numbers(texts).to_list() == [[0], [], [1], []]
    assert vocabulary.numbers_with_unknown(texts).to_list() == [[-1, 0], [], [1, -1, -1], [-1]]


def test_no_texts_have_no_words():
    assert WordVocabulary(["sea"]).numbers(tf.zeros([0], tf.string)).to_list() == []


def test_a_corpus_without_a_word_is_told():
    with pytest.raises(EncoderError, match="None of the 2 texts holds a word"):
        WordVocabulary.fit(["", "!!"], num_words=3)


@pytest.mark.parametrize("words", [[], ["a", "a"]])
def test_words_must_differ_and_be_there(words):
    with pytest.raises(UsageError, match="must be distinct and at least one"):
        WordVocabulary(words)


def test_a_vocabulary_of_no_words_is_refused():
    with pytest.raises(UsageError, match="`num_words` must be at least 1, got 0"):
        WordVocabulary.fit(["a"], num_words=0)


def test_the_digest_follows_words_and_cleaning():
    made = [
        WordVocabulary(["a", "b"]),
        WordVocabulary(["b", "a"]),
        WordVocabulary(["a", "b"], clean="light"),
        WordVocabulary(["a", "b"], clean="full", stop_words=["c"]),
        WordVocabulary(["a", "b"], clean="full"),
    ]
    assert len({vocabulary.sha256 for vocabulary in made}) == len(made)
    assert WordVocabulary(["a", "b"]).sha256 == made[0].sha256
