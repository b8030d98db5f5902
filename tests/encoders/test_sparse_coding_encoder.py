from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.decomposition import sparse_encode

from tfrec_llm.encoders.load_encoder import load_encoder
from tfrec_llm.encoders.sparse_coding_encoder import SparseCodingEncoder
from tfrec_llm.encoders.word_embedding_encoder import WordEmbeddingEncoder
from tfrec_llm.encoders.word_encoder import WordEncoder
from tfrec_llm.encoders.word_vocabulary import WordVocabulary
from tfrec_llm.errors import CorruptFileError, UsageError
from tfrec_llm.keras_api import tf

WORDS = "the blue sea red rock old king young queen train house space opera planet".split()
GENERATOR = np.random.default_rng(0)
TEXTS = [" ".join(GENERATOR.choice(WORDS, 4)) for _ in range(48)]


@pytest.fixture(scope="module")
def words():
    return WordEncoder.fit("tfidf", TEXTS, dim=10)


@pytest.fixture(scope="module")
def coded(words):
    return SparseCodingEncoder.fit(words, words.encode(TEXTS), dim=12)


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 2**31), st.integers(2, 12), st.sampled_from([0.05, 0.1, 0.3]))
def test_codes_are_those_of_coordinate_descent(words, seed, num_atoms, alpha):
    draw = np.random.default_rng(seed)
    atoms = draw.normal(size=(num_atoms, words.dim))
    atoms /= np.linalg.norm(atoms, axis=1, keepdims=True)
    vectors = draw.normal(size=(6, words.dim)).astype(np.float32)
    centre = draw.normal(size=words.dim) * 0.1
    encoder = SparseCodingEncoder(words, centre, atoms, alpha=alpha)
    found = encoder.encode_vectors(vectors)
    signals = vectors / np.linalg.norm(vectors, axis=1, keepdims=True) - centre
    signals /= np.linalg.norm(signals, axis=1, keepdims=True)
    best = sparse_encode(signals, atoms, algorithm="lasso_cd", alpha=alpha, max_iter=20_000)

    def objective(codes: np.ndarray) -> np.ndarray:
        left = signals - codes @ atoms
        return 0.5 * (left**2).sum(axis=1) + alpha * np.abs(codes).sum(axis=1)

    np.testing.assert_allclose(objective(found), objective(best), atol=1e-4)
    np.testing.assert_allclose(found, best, atol=0.02)


def test_most_entries_of_a_code_are_exactly_zero(coded):
    codes = coded.encode(TEXTS)
    assert codes.shape == (48, 12) and codes.any(axis=1).all()
    assert 0.3 < (codes == 0).mean() < 0.95


def test_there_is_no_atom_for_every_text(words):
    assert SparseCodingEncoder.fit(words, words.encode(TEXTS[:20]), dim=64).dim == 5


def test_the_same_seed_gives_the_same_atoms(words, coded):
    again = SparseCodingEncoder.fit(words, words.encode(TEXTS), dim=12)
    other = SparseCodingEncoder.fit(words, words.encode(TEXTS), dim=12, seed=1)
    assert again.fingerprint == coded.fingerprint != other.fingerprint


def test_embed_is_encode(coded):
    np.testing.assert_allclose(
        coded.embed(tf.constant(TEXTS[:5])), coded.encode(TEXTS)[:5], atol=1e-6
    )
    assert coded.encode([]).shape == (0, 12)


def test_a_saved_encoder_comes_back_the_same(coded, tmp_path):
    coded.save(tmp_path / "encoder")
    loaded = load_encoder(tmp_path / "encoder")
    assert loaded.fingerprint == coded.fingerprint and len(loaded.variables) == 4
    # Sums in another order, as threads share them out, move the last bit.
    np.testing.assert_allclose(loaded.encode(TEXTS), coded.encode(TEXTS), atol=1e-6)


def test_a_changed_file_of_the_coded_encoder_is_named(coded, tmp_path):
    coded.save(tmp_path / "encoder")
    words = tmp_path / "encoder" / "encoder" / "words.txt"
    words.write_text(words.read_text() + "more\n")
    with pytest.raises(CorruptFileError, match="words.txt is missing or not as it was saved"):
        load_encoder(tmp_path / "encoder")


def test_settings_that_do_not_fit_are_told(words):
    atoms, centre = np.eye(words.dim), np.zeros(words.dim)
    with pytest.raises(UsageError, match="`alpha` must be above 0"):
        SparseCodingEncoder(words, centre, atoms, alpha=0.0)
    with pytest.raises(UsageError, match="must be 10 wide"):
        SparseCodingEncoder(words, centre, atoms[:, 1:])
    tokens = WordEmbeddingEncoder(WordVocabulary(["sea"]))
    with pytest.raises(UsageError, match="need one vector a text"):
        SparseCodingEncoder(tokens, np.zeros(2), np.eye(2))
    with pytest.raises(UsageError, match="at least one atom and one vector"):
        SparseCodingEncoder.fit(words, words.encode(TEXTS), dim=0)
