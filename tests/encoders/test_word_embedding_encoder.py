from __future__ import annotations

import numpy as np
import pytest

from tfrec_llm.encoders.load_encoder import load_encoder
from tfrec_llm.encoders.word_embedding_encoder import WordEmbeddingEncoder
from tfrec_llm.encoders.word_vocabulary import WordVocabulary
from tfrec_llm.errors import UsageError
from tfrec_llm.keras_api import tf

TEXTS = ["the blue sea", "", "unknown sea the the sea", "BLUE!"]


def numbers_of(features: np.ndarray) -> list[list[int]]:
    high, low = np.asarray(features, np.int64).transpose(2, 0, 1)
    return [[int(n) for n in row if n >= 0] for row in (high - 1) * 1024 + low]


@pytest.fixture(scope="module")
def encoder():
    return WordEmbeddingEncoder(WordVocabulary(["the", "sea", "blue"]), max_tokens=3)


def test_words_are_numbered_in_order_and_cut(encoder):
    features = encoder.encode(TEXTS)
    assert features.shape == (4, 3, 2) and features.dtype == np.float16
    assert numbers_of(features) == [[0, 2, 1], [], [1, 0, 0], [2]]


def test_embed_is_encode(encoder):
    np.testing.assert_allclose(encoder.embed(tf.constant(TEXTS)), encoder.encode(TEXTS), atol=1e-6)


def test_numbers_of_a_large_vocabulary_survive_float16():
    words = [f"w{n}" for n in range(5000)]
    encoder = WordEmbeddingEncoder(WordVocabulary(words), max_tokens=5000)
    assert numbers_of(encoder.encode([" ".join(words)])) == [list(range(5000))]


def test_no_texts_give_no_rows(encoder):
    assert encoder.encode([]).shape == (0, 3, 2)
    assert encoder.embed(tf.zeros([0], tf.string)).shape == (0, 3, 2)


def test_a_saved_encoder_comes_back_the_same(encoder, tmp_path):
    encoder.save(tmp_path / "encoder")
    loaded = load_encoder(tmp_path / "encoder")
    assert loaded.fingerprint == encoder.fingerprint
    np.testing.assert_allclose(loaded.encode(TEXTS), encoder.encode(TEXTS), atol=1e-6)


def test_the_fingerprint_follows_words_and_width():
    words = WordVocabulary(["the", "sea"]), WordVocabulary(["sea", "the"])
    made = [WordEmbeddingEncoder(words[0], 3), WordEmbeddingEncoder(words[1], 3)]
    made.append(WordEmbeddingEncoder(words[0], 4))
    assert len({encoder.fingerprint for encoder in made}) == 3


def test_texts_of_no_words_are_refused():
    with pytest.raises(UsageError, match="`max_tokens` must be at least 1, got 0"):
        WordEmbeddingEncoder(WordVocabulary(["the"]), max_tokens=0)
