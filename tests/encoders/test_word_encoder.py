from __future__ import annotations

import json
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.decomposition import TruncatedSVD
from sklearn.feature_extraction.text import CountVectorizer, TfidfVectorizer

from tfrec_llm.encoders.load_encoder import load_encoder
from tfrec_llm.encoders.word_encoder import WORD_WEIGHTS, WordEncoder
from tfrec_llm.errors import CorruptFileError, EncoderError, UsageError
from tfrec_llm.keras_api import tf
from tfrec_llm.neighbours.words_of import words_of

CORPUS = [
    "the blue sea, the sea",
    "red rock and the sea",
    "",
    "科幻小说 blue",
    "the old king and the young queen",
    "blue blue blue rock",
    "a train to the red house",
]
QUERIES = [*CORPUS, "the the the unknown sea", "nothing known", "科幻 sea"]


@pytest.fixture(scope="module", params=WORD_WEIGHTS)
def narrow(request):
    return WordEncoder.fit(request.param, CORPUS, dim=4)


def test_tfidf_is_that_of_scikit_learn_before_the_reduction():
    encoder = WordEncoder.fit("tfidf", CORPUS, dim=4)
    words = encoder.vocabulary.words
    reference = TfidfVectorizer(analyzer=words_of, sublinear_tf=True, vocabulary=words)
    expected = reference.fit(CORPUS).transform(QUERIES).toarray()
    np.testing.assert_allclose(encoder.word_weights(QUERIES).toarray(), expected, atol=1e-6)


def test_one_hot_is_the_binary_bag_of_words():
    encoder = WordEncoder.fit("one_hot", CORPUS, dim=4)
    words = encoder.vocabulary.words
    reference = CountVectorizer(analyzer=words_of, binary=True, vocabulary=words)
    expected = reference.transform(QUERIES).toarray()
    assert np.array_equal(encoder.word_weights(QUERIES).toarray(), expected)


def test_bm25_by_hand():
    encoder = WordEncoder.fit("bm25", ["sea sea rock", "rock", "sky blue"], dim=9)
    place = encoder.vocabulary.words.index
    found = encoder.encode(["sea sea sea rock what"])[0]
    norm = 1.2 * (0.25 + 0.75 * 5 / 2)  # five words, two in a mean text
    sea = math.log(1 + 2.5 / 1.5) * 3 * 2.2 / (3 + norm)
    rock = math.log(1 + 1.5 / 2.5) * 1 * 2.2 / (1 + norm)
    assert found[place("sea")] == pytest.approx(sea, rel=1e-5)
    assert found[place("rock")] == pytest.approx(rock, rel=1e-5)
    assert np.count_nonzero(found) == 2


def test_features_are_the_projection_on_the_truncated_svd(narrow):
    weights = narrow.word_weights(CORPUS)
    expected = TruncatedSVD(4, random_state=0).fit(weights).transform(narrow.word_weights(QUERIES))
    np.testing.assert_allclose(narrow.encode(QUERIES), expected, atol=1e-5)


@pytest.mark.parametrize("kind", WORD_WEIGHTS)
def test_few_words_keep_a_column_each(kind):
    encoder = WordEncoder.fit(kind, CORPUS, num_words=6, dim=6)
    assert encoder.dim == 6
    expected = encoder.word_weights(QUERIES).toarray()
    np.testing.assert_allclose(encoder.encode(QUERIES), expected, rtol=1e-6)


def test_no_more_columns_than_texts():
    encoder = WordEncoder.fit("tfidf", ["a b c d e f", "g h i j"], dim=8)
    assert encoder.dim == 2 and np.isfinite(encoder.encode(["a", "z"])).all()


def test_a_text_without_a_known_word_gives_zeros(narrow):
    assert not np.any(narrow.encode(["", "nothing known", "!"]))


@settings(max_examples=20, deadline=None)
@given(order=st.permutations(range(len(QUERIES))), size=st.integers(1, 4))
def test_a_vector_does_not_depend_on_its_batch(narrow, order, size):
    texts = [QUERIES[i] for i in order]
    parts = [
        narrow.embed(tf.constant(texts[i : i + size])).numpy() for i in range(0, len(texts), size)
    ]
    np.testing.assert_allclose(np.concatenate(parts), narrow.encode(texts), atol=1e-6)


def test_no_texts_give_no_rows(narrow):
    assert narrow.encode([]).shape == (0, 4)
    assert narrow.embed(tf.zeros([0], tf.string)).shape == (0, 4)


def test_a_saved_encoder_comes_back_the_same(narrow, tmp_path):
    narrow.save(tmp_path / "encoder")
    loaded = load_encoder(tmp_path / "encoder")
    assert (loaded.fingerprint, loaded.name) == (narrow.fingerprint, narrow.kind)
    np.testing.assert_allclose(loaded.encode(QUERIES), narrow.encode(QUERIES), atol=1e-6)


def test_cleaning_is_saved_too(tmp_path):
    encoder = WordEncoder.fit("tfidf", CORPUS, clean="full", stop_words=["rock"], dim=3)
    encoder.save(tmp_path / "encoder")
    loaded = load_encoder(tmp_path / "encoder")
    assert loaded.fingerprint == encoder.fingerprint
    assert not loaded.encode(["rock"]).any()


def test_a_changed_file_of_a_saved_encoder_is_named(narrow, tmp_path):
    narrow.save(tmp_path / "encoder")
    words = tmp_path / "encoder" / "words.txt"
    words.write_text(words.read_text().replace("king", "kong"))
    with pytest.raises(CorruptFileError, match="words.txt is missing or not as it was saved"):
        load_encoder(tmp_path / "encoder")


def test_an_encoder_is_not_saved_over_something(narrow, tmp_path):
    (tmp_path / "mine.txt").write_text("")
    with pytest.raises(UsageError, match="holds something already"):
        narrow.save(tmp_path)


def test_a_folder_of_another_format_is_told(narrow, tmp_path):
    narrow.save(tmp_path / "encoder")
    path = tmp_path / "encoder" / "encoder.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "format": 99}))
    with pytest.raises(EncoderError, match="in format 99; expected"):
        WordEncoder.load(tmp_path / "encoder")


def test_the_fingerprint_follows_all_that_shapes_the_vectors():
    def fingerprint(kind="tfidf", texts=CORPUS, **settings):
        return WordEncoder.fit(kind, texts, **{"dim": 4, **settings}).fingerprint

    found = [
        fingerprint(),
        fingerprint("bm25"),
        fingerprint(texts=[*CORPUS, "blue"]),
        fingerprint(dim=3),
        fingerprint(num_words=9),
        fingerprint(clean="light"),
    ]
    assert len(set(found)) == len(found) and fingerprint() == found[0]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"kind": "counts"}, "`kind` must be one of one_hot, tfidf, bm25, got 'counts'"),
        ({"kind": "tfidf", "dim": 0}, "`dim` must be at least 1, got 0"),
        ({"kind": "tfidf", "clean": "hard"}, "`clean` must be one of"),
    ],
)
def test_settings_that_do_not_fit_are_told(settings, message):
    with pytest.raises(UsageError, match=message):
        WordEncoder.fit(texts=CORPUS, **settings)
