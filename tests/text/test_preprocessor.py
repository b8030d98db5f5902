import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tfrec_llm.errors import UsageError
from tfrec_llm.keras_api import keras_nlp, tf
from tfrec_llm.testing.tiny_models import WORD_PIECES
from tfrec_llm.text.preprocessor import TextPreprocessor

PAD, UNK, START, END = 0, 1, 2, 3


def number(token):
    return WORD_PIECES.index(token)


def preprocessor(max_tokens=8, clean="none", stop_words=(), **options):
    options = {"vocabulary": WORD_PIECES, "lowercase": True, **options}
    tokenizer = keras_nlp.models.BertTokenizer(**options)
    return TextPreprocessor(tokenizer, max_tokens, clean=clean, stop_words=stop_words)


@pytest.fixture(scope="module")
def eight():
    return preprocessor(8)


def test_a_text_stands_between_start_and_end(eight):
    inputs = eight(tf.constant(["Space opera"]))
    expected = [START, number("space"), number("opera"), END]
    assert inputs["token_ids"].numpy().tolist() == [expected]
    assert inputs["padding_mask"].numpy().tolist() == [[1, 1, 1, 1]]
    assert inputs["segment_ids"].numpy().tolist() == [[0, 0, 0, 0]]


def test_an_empty_text_is_start_and_end(eight):
    assert eight(tf.constant([""]))["token_ids"].numpy().tolist() == [[START, END]]


def test_white_space_alone_is_an_empty_text(eight):
    assert eight(tf.constant([" \t\n "]))["token_ids"].numpy().tolist() == [[START, END]]


def test_an_empty_batch_gives_no_rows(eight):
    assert eight(tf.zeros([0], tf.string))["token_ids"].shape[0] == 0


def test_long_texts_are_cut_and_keep_their_end(eight):
    row = eight(tf.constant(["the " * 50]))["token_ids"].numpy()[0]
    assert row.tolist() == [START, *[number("the")] * 6, END]


def test_a_text_of_exactly_the_limit_is_not_cut(eight):
    row = eight(tf.constant(["the " * 6]))["token_ids"].numpy()[0]
    assert row.tolist() == [START, *[number("the")] * 6, END]


def test_a_batch_is_padded_to_its_longest_text(eight):
    inputs = eight(tf.constant(["the man", "the man is eating"]))
    assert inputs["token_ids"].numpy()[0].tolist()[4:] == [PAD, PAD]
    assert inputs["padding_mask"].numpy().tolist() == [[1, 1, 1, 1, 0, 0], [1] * 6]


def test_chinese_characters_are_tokens_of_their_own(eight):
    row = eight(tf.constant(["三体 love"]))["token_ids"].numpy()[0]
    assert row.tolist() == [START, number("三"), number("体"), number("love"), END]


def test_bytes_that_are_no_utf8_count_as_spaces(eight):
    row = eight(tf.constant([b"the\xff\xfeman"]))["token_ids"].numpy()[0]
    assert row.tolist() == [START, number("the"), number("man"), END]


def test_a_nul_does_not_end_the_text(eight):
    row = eight(tf.constant([b"the\x00man"]))["token_ids"].numpy()[0]
    assert row.tolist() == [START, number("the"), number("man"), END]


@settings(max_examples=60, deadline=None)
@given(st.lists(st.binary(max_size=40), min_size=1, max_size=4))
def test_any_bytes_give_whole_rows(eight, texts):
    inputs = eight(tf.constant(texts))
    token_ids, mask = inputs["token_ids"].numpy(), inputs["padding_mask"].numpy()
    lengths = mask.sum(axis=1)
    assert lengths.min() >= 2 and token_ids.shape[1] == lengths.max() <= 8
    assert (token_ids[:, 0] == START).all()
    assert (token_ids[np.arange(len(texts)), lengths - 1] == END).all()
    assert (token_ids[mask == 0] == PAD).all()


def test_a_row_is_the_same_alone_in_a_batch_and_in_a_data_set(eight):
    texts = ["the man", "love story of the king", ""]
    batch = eight(tf.constant(texts))
    dataset = tf.data.Dataset.from_tensor_slices(texts).batch(3).map(eight)
    for row, text in enumerate(texts):
        alone = eight(tf.constant([text]))["token_ids"].numpy()[0]
        assert batch["token_ids"].numpy()[row, : len(alone)].tolist() == alone.tolist()
    assert (next(iter(dataset))["token_ids"].numpy() == batch["token_ids"].numpy()).all()


def test_the_digest_follows_all_that_shapes_the_tokens():
    changed = [
        preprocessor(),
        preprocessor(max_tokens=9),
        preprocessor(lowercase=False),
        preprocessor(strip_accents=True),
        preprocessor(vocabulary=[*WORD_PIECES, "moon"]),
        preprocessor(clean="light"),
        preprocessor(clean="full"),
        preprocessor(clean="full", stop_words=["love"]),
    ]
    assert len({one.sha256 for one in changed}) == len(changed)
    assert preprocessor().sha256 == changed[0].sha256


def test_the_digest_without_cleaning_never_changes():
    # Published feature caches and saved encoders carry it.
    digest = "f94367a1075e08dedeeb93f7014da167552a0dbf6c29db60d5ce02a3ac6e07c7"
    assert preprocessor().sha256 == digest


@pytest.mark.parametrize(
    ("clean", "tokens"), [("light", ["the", "man", "love"]), ("full", ["man"])]
)
def test_texts_are_cleaned_before_their_tokens_are_counted(clean, tokens):
    words = ["Love"] if clean == "full" else ()
    one = preprocessor(max_tokens=5, clean=clean, stop_words=words)
    row = one(tf.constant(["<p>😀 http://the.man/love <b>the</b> man love"]))["token_ids"].numpy()[
        0
    ]
    assert row.tolist() == [START, *map(number, tokens), END]


def test_stop_words_without_full_cleaning_are_refused():
    with pytest.raises(UsageError, match="`clean` is 'none'"):
        preprocessor(stop_words=["love"])


def test_a_limit_without_room_for_a_token_is_refused():
    with pytest.raises(UsageError, match="`max_tokens` must be at least 3 .* got 2"):
        preprocessor(max_tokens=2)


def test_an_unknown_level_of_cleaning_is_refused(eight):
    with pytest.raises(UsageError, match="`clean` must be one of none, light, full, got 'polish'"):
        TextPreprocessor(eight.tokenizer, 8, clean="polish")
