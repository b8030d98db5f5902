"""The real MiniLM against a BERT written in NumPy."""

import importlib.util
from pathlib import Path

import numpy as np
import pytest

from tfrec_llm.encoders.text_encoder import TextEncoder
from tfrec_llm.keras_api import tf


@pytest.fixture(scope="module")
def numpy_bert(minilm_folder):
    path = Path(__file__).resolve().parents[1] / "reference" / "numpy_bert.py"
    spec = importlib.util.spec_from_file_location("numpy_bert", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.NumpyBert(minilm_folder)


TEXTS = [
    "A man is eating food.",
    "Café Müller, naïve élèves & «Amélie» — $5 (2001): what's unbelievably antidisestablishment?",
    "北京 is a city; the three-body problem \t and\nmore",
    "",
]


@pytest.mark.parametrize("text", TEXTS)
def test_tokens_equal_those_cut_by_hand(minilm, numpy_bert, text):
    tokens = minilm.preprocessor.token_ids(tf.constant([text])).to_list()[0]
    assert tokens == numpy_bert.token_ids(text)


def test_accented_words_are_known(minilm):
    known, accented = minilm.preprocessor.token_ids(tf.constant(["cafe", "Café"])).to_list()
    assert known == accented


@pytest.mark.parametrize("text", TEXTS)
def test_vectors_equal_bert_in_numpy(minilm, numpy_bert, text):
    np.testing.assert_allclose(minilm.encode([text])[0], numpy_bert.embed(text), atol=1e-5)


def test_a_text_in_a_padded_batch_equals_bert_in_numpy(minilm, numpy_bert):
    encoded = minilm.encode([TEXTS[0], "word " * 100])
    np.testing.assert_allclose(encoded[0], numpy_bert.embed(TEXTS[0]), atol=1e-5)


def test_likeness_of_meaning_is_likeness_of_vectors(minilm):
    texts = ["a man is eating food", "a person eats", "the stock market fell"]
    vectors = minilm.encode(texts)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    assert vectors[0] @ vectors[1] > 0.7 > 0.2 > vectors[0] @ vectors[2]


def test_a_saved_minilm_keeps_its_exact_gelu(minilm, tmp_path):
    minilm.save(tmp_path / "encoder")
    loaded = TextEncoder.load(tmp_path / "encoder")
    assert loaded.fingerprint == minilm.fingerprint
    assert loaded.preset == minilm.preset.__class__(
        "all_minilm_l6_v2_en",
        str(tmp_path / "encoder"),
        "keras_folder",
        minilm.preset.sha256,
        True,
    )
    np.testing.assert_allclose(loaded.encode(TEXTS), minilm.encode(TEXTS), atol=1e-6)
