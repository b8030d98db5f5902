from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tfrec_llm.encoders.feature_cache import FeatureCache
from tfrec_llm.encoders.load_encoder import load_encoder
from tfrec_llm.encoders.no_text_encoder import NoTextEncoder
from tfrec_llm.encoders.text_encoder import TextEncoder
from tfrec_llm.encoders.word_encoder import WordEncoder
from tfrec_llm.encoders.words_beside_encoder import WordsBesideEncoder, text_encoder_of
from tfrec_llm.errors import CorruptFileError, UsageError
from tfrec_llm.keras_api import tf

WORDS = (
    "the blue sea red rock old king young queen train house space opera planet 三体 科幻".split()
)
GENERATOR = np.random.default_rng(0)
TEXTS = [" ".join(GENERATOR.choice(WORDS, 4)) for _ in range(40)]


@pytest.fixture(scope="module")
def model(tiny_encoder):
    return tiny_encoder


@pytest.fixture(scope="module")
def encoder(model):
    words = WordEncoder.fit("tfidf", TEXTS, dim=6)
    return WordsBesideEncoder.fit(model, model.encode(TEXTS), words, TEXTS)


def test_both_parts_are_centred_and_of_like_size_over_the_corpus(encoder, model):
    features = encoder.encode(TEXTS)
    assert features.shape == (40, model.dim + 6) and features.dtype == np.float32
    for part in (features[:, : model.dim], features[:, model.dim :]):
        np.testing.assert_allclose(part.mean(axis=0), 0.0, atol=1e-5)
        assert np.linalg.norm(part, axis=1).mean() == pytest.approx(1.0, abs=1e-4)


def test_the_first_part_orders_texts_as_the_centred_language_model_does(encoder, model):
    vectors = model.encode(TEXTS)
    unit = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    centred = unit - unit.mean(axis=0)
    found = encoder.encode(TEXTS)[:, : model.dim]
    np.testing.assert_allclose(found, centred / np.linalg.norm(centred, axis=1).mean(), atol=1e-5)


@settings(max_examples=25, deadline=None)
@given(st.lists(st.one_of(st.text(max_size=30), st.sampled_from(TEXTS)), min_size=1, max_size=6))
def test_the_graph_gives_what_encode_gives(encoder, texts):
    tensor = tf.constant([text.encode("utf-8", "replace") for text in texts], tf.string)
    np.testing.assert_allclose(encoder.embed(tensor), encoder.encode(texts), atol=2e-5)


@pytest.mark.parametrize("text", ["", "unheardof", "!?"])
def test_a_text_without_a_known_word_has_zeros_there(text, encoder, model):
    features = encoder.encode([text])
    assert not features[0, model.dim :].any() and features[0, : model.dim].any()


def test_no_texts_give_no_rows(encoder):
    assert encoder.encode([]).shape == (0, encoder.dim)


def test_a_language_model_that_says_nothing_stays_zero():
    words = WordEncoder.fit("tfidf", TEXTS, dim=6)
    none = NoTextEncoder()
    made = WordsBesideEncoder.fit(none, none.encode(TEXTS), words, TEXTS)
    assert np.isfinite(made.encode([*TEXTS, ""])).all()


def test_a_saved_encoder_comes_back_the_same(encoder, tmp_path):
    encoder.save(tmp_path / "encoder")
    loaded = load_encoder(tmp_path / "encoder")
    assert isinstance(loaded, WordsBesideEncoder)
    assert loaded.fingerprint == encoder.fingerprint and loaded.name == encoder.name
    np.testing.assert_allclose(loaded.encode(TEXTS[:5]), encoder.encode(TEXTS[:5]), atol=1e-6)
    assert len(loaded.variables) == len(encoder.variables)


def test_a_changed_file_is_told(encoder, tmp_path):
    encoder.save(tmp_path / "encoder")
    np.save(tmp_path / "encoder" / "scales.npy", np.ones(2, np.float32))
    with pytest.raises(CorruptFileError, match=r"scales\.npy is missing or not as it was saved"):
        load_encoder(tmp_path / "encoder")


def test_words_and_their_weight_count_in_the_fingerprint(encoder, model):
    other = WordEncoder.fit("tfidf", TEXTS[:20], dim=6)
    wider = WordsBesideEncoder(model, encoder.words, np.zeros(encoder.dim), [1.0, 2.0])
    prints = {
        encoder.fingerprint,
        wider.fingerprint,
        WordsBesideEncoder.fit(model, model.encode(TEXTS), other, TEXTS).fingerprint,
    }
    assert len(prints) == 3


def test_the_cache_keeps_what_the_language_model_gave(encoder, model, tmp_path, monkeypatch):
    cache = FeatureCache(tmp_path)
    found = cache.features(encoder, TEXTS)
    np.testing.assert_allclose(found, encoder.encode(TEXTS), atol=1e-5)
    monkeypatch.setattr(model, "encode", None)  # a second call would fail
    np.testing.assert_array_equal(cache.features(encoder, TEXTS[::-1]), found[::-1])


def test_faults_are_told(encoder, model, tiny_folder):
    tokens = TextEncoder.from_preset(tiny_folder, max_tokens=16, pooling="tokens")
    with pytest.raises(UsageError, match=r"encoder\.word_columns to 0"):
        WordsBesideEncoder(tokens, encoder.words, np.zeros(1), [1.0, 1.0])
    with pytest.raises(UsageError, match=f"`centre` needs {encoder.dim} numbers"):
        WordsBesideEncoder(model, encoder.words, np.zeros(3), [1.0, 1.0])


def test_its_language_model_can_be_had(encoder, model):
    assert text_encoder_of(encoder) is model and text_encoder_of(model) is model
    with pytest.raises(UsageError, match="does not give the tokens"):
        text_encoder_of(encoder.words)
