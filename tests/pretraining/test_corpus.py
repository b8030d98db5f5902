"""Held-out texts, vocabulary, windows and masks: what the training is made of."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tfrec_llm.errors import DataError, UsageError
from tfrec_llm.keras_api import keras_nlp
from tfrec_llm.pretraining.held_out_texts import held_out_texts
from tfrec_llm.pretraining.mask_tokens import mask_tokens
from tfrec_llm.pretraining.token_windows import token_windows
from tfrec_llm.pretraining.word_pieces import RESERVED, word_pieces

CHINESE = [f"{a}{b}的故事，{c}" for a in "三体流浪" for b in "地球人心" for c in "甲乙丙"]


@settings(max_examples=50, deadline=None)
@given(st.lists(st.text("ab ", max_size=5), max_size=40), st.floats(0.01, 0.99), st.integers(0, 9))
def test_no_text_stands_on_both_sides_and_none_is_lost(texts, share, seed):
    distinct = {" ".join(text.split()) for text in texts} - {""}
    if len(distinct) < 10:
        with pytest.raises(DataError, match=f"has {len(distinct)} distinct texts"):
            held_out_texts(texts, share, seed)
        return
    train, held_out = held_out_texts(texts, share, seed)
    sides = [[" ".join(text.split()) for text in side] for side in (train, held_out)]
    assert train and held_out and set(sides[0]).isdisjoint(sides[1])
    assert sorted(sides[0] + sides[1]) == sorted(distinct)


def test_texts_that_differ_in_case_or_width_are_one():
    texts = [f"text {n}" for n in range(10)]
    train, held_out = held_out_texts([*texts, "TEXT  3", "ｔｅｘｔ 4"], 0.2)
    assert sorted(train + held_out) == texts


def test_chinese_is_read_character_by_character_and_nothing_is_unknown():
    vocabulary = word_pieces(CHINESE, 100)
    assert vocabulary[:5] == list(RESERVED) and len(set(vocabulary)) == len(vocabulary)
    assert not any(piece.startswith("##") for piece in vocabulary)
    tokenizer = keras_nlp.models.BertTokenizer(vocabulary, lowercase=True)
    windows = token_windows(tokenizer, CHINESE, 32)
    assert all(tokenizer.token_to_id("[UNK]") not in window for window in windows)
    assert len(windows[0]) == len(CHINESE[0]) + 2


def test_more_characters_than_the_builder_takes_get_in():
    characters = [chr(0x4E00 + n) for n in range(1500)]
    vocabulary = word_pieces(["".join(characters)] * 2, 2000)
    assert set(characters) <= set(vocabulary)
    assert len(word_pieces(["".join(characters)] * 2, 1200)) <= 1200


@pytest.mark.slow
def test_the_vocabulary_does_not_depend_on_the_hash_seed():
    code = (
        "from tfrec_llm.pretraining.word_pieces import word_pieces;"
        "print(word_pieces(['the cat sat on the mat in a hat', 'that rat ate it'] * 9, 60))"
    )
    outputs = {
        subprocess.run(
            [sys.executable, "-c", code],
            capture_output=True,
            text=True,
            check=True,
            env={"PYTHONHASHSEED": seed, "TF_CPP_MIN_LOG_LEVEL": "3", "PATH": ""},
        ).stdout
        for seed in ("1", "2")
    }
    assert len(outputs) == 1


def test_a_corpus_without_words_and_a_vocabulary_without_room_are_told():
    with pytest.raises(DataError, match="holds no word"):
        word_pieces(["", "  "], 50)
    with pytest.raises(UsageError, match="`vocabulary_size` must be above 5"):
        word_pieces(["a"], 5)


def test_long_texts_become_windows_and_no_token_is_lost():
    tokenizer = keras_nlp.models.BertTokenizer([*RESERVED, *"abcdefg"])
    windows = token_windows(tokenizer, ["a b c d e f g", "", "a"], 5)
    inner = [tokenizer.id_to_token(i) for window in windows for i in window[1:-1]]
    assert "".join(inner) == "abcdefga" and max(map(len, windows)) == 5


@settings(max_examples=50, deadline=None)
@given(st.integers(1, 6), st.integers(1, 30), st.floats(0.05, 0.9), st.integers(0, 99))
def test_only_real_tokens_are_hidden_and_one_of_each_text_at_least(rows, width, share, seed):
    generator = np.random.default_rng(seed)
    ids = generator.integers(5, 50, (rows, width)).astype(np.int32)
    is_real = generator.random((rows, width)) < 0.7
    seen, chosen = mask_tokens(
        ids,
        is_real,
        mask_token_id=4,
        ordinary_ids=np.arange(5, 50),
        generator=generator,
        mask_share=share,
    )
    assert not (chosen & ~is_real).any()
    assert np.array_equal(seen[~chosen], ids[~chosen])
    num_real = is_real.sum(axis=1)
    expected = np.minimum(np.maximum(np.rint(num_real * share), 1), num_real)
    assert np.array_equal(chosen.sum(axis=1), expected)


def test_eighty_percent_become_the_mask_and_ten_a_random_token():
    ids = np.full((400, 50), 7, np.int32)
    seen, chosen = mask_tokens(
        ids,
        np.ones_like(ids, bool),
        mask_token_id=4,
        ordinary_ids=np.arange(1000, 2000),
        generator=np.random.default_rng(0),
        mask_share=0.5,
    )
    hidden = seen[chosen]
    shares = [np.mean(hidden == 4), np.mean(hidden >= 1000), np.mean(hidden == 7)]
    np.testing.assert_allclose(shares, [0.8, 0.1, 0.1], atol=0.02)
