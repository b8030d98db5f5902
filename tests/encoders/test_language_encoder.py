"""Two language models, one for Chinese, as one encoder."""

from __future__ import annotations

import json

import numpy as np
import pytest

from tfrec_llm.encoders.language_encoder import LanguageEncoder, is_chinese
from tfrec_llm.encoders.load_encoder import load_encoder
from tfrec_llm.encoders.text_encoder import TextEncoder
from tfrec_llm.errors import CorruptFileError, EncoderError, UsageError
from tfrec_llm.keras_api import tf
from tfrec_llm.testing.tiny_models import tiny_preset

TEXTS = ["space opera", "三体", "", "喜欢阅读科幻小说，最近在追《三体》", "the king", "12 ?!"]
CHINESE = [False, True, False, True, False, False]


@pytest.fixture(scope="module")
def parts(tmp_path_factory):
    folder = tmp_path_factory.mktemp("two")
    shapes = ((0, 8), (1, 16))
    return [
        TextEncoder.from_preset(tiny_preset(folder / str(s), seed=s, dim=d), max_tokens=16)
        for s, d in shapes
    ]


@pytest.fixture(scope="module")
def encoder(parts):
    return LanguageEncoder(*parts)


def test_each_text_is_read_by_the_model_of_its_language(encoder, parts):
    features = encoder.encode(TEXTS, batch_size=2)
    assert features.shape == (len(TEXTS), 24) and features.dtype == np.float32
    for text, chinese, row in zip(TEXTS, CHINESE, features, strict=True):
        expected = np.zeros(24, np.float32)
        columns = slice(8, None) if chinese else slice(None, 8)
        vector = parts[chinese].encode([text])[0]
        expected[columns] = vector / np.linalg.norm(vector)
        np.testing.assert_allclose(row, expected, atol=1e-5)


def test_what_the_texts_of_a_language_share_is_taken_off(parts):
    encoder = LanguageEncoder(*parts)
    before = encoder.fingerprint
    encoder.fit(TEXTS)
    features = encoder.encode(TEXTS)
    np.testing.assert_allclose(features[CHINESE].mean(axis=0), 0.0, atol=1e-5)
    np.testing.assert_allclose(features[np.logical_not(CHINESE)].mean(axis=0), 0.0, atol=1e-5)
    np.testing.assert_allclose(encoder.embed(tf.constant(TEXTS)), features, atol=1e-5)
    assert encoder.fingerprint != before


@pytest.mark.parametrize("rows", [[], [0, 2], [1, 3], [1, 0, 3, 4]])
def test_the_graph_gives_the_features_of_encode(encoder, rows):
    texts = [TEXTS[row] for row in rows]
    embedded = tf.function(encoder.embed)(tf.constant(texts, tf.string))
    np.testing.assert_allclose(embedded, encoder.encode(texts), atol=1e-5)


def test_a_model_without_texts_is_not_run(encoder, parts):
    broken = tf.Variable(parts[1].variables[0])
    parts[1].variables[0].assign(broken * np.nan)
    try:
        assert np.isfinite(encoder.embed(tf.constant(["space opera"]))).all()
        assert not np.isfinite(encoder.embed(tf.constant(["三体"]))).all()
    finally:
        parts[1].variables[0].assign(broken)


@pytest.mark.parametrize(
    "text, expected",
    [
        ("三体", True),
        ("《三体》 12345 !!!!!!!!!", True),
        ("三体 abcd", True),  # 2 of 6 letters
        ("三体 abcde", False),  # 2 of 7
        ("ひらがな", False),
        ("", False),
        (b"\xff\xfe", False),
        (b"\xff\xe4\xb8\x89", True),
    ],
)
def test_thirty_percent_of_the_letters_make_a_text_chinese(text, expected):
    assert bool(is_chinese(tf.constant([text]))[0]) is expected


def test_a_saved_encoder_comes_back_the_same(encoder, tmp_path):
    encoder.save(tmp_path / "encoder")
    loaded = load_encoder(tmp_path / "encoder")
    assert isinstance(loaded, LanguageEncoder) and loaded.fingerprint == encoder.fingerprint
    np.testing.assert_allclose(loaded.encode(TEXTS), encoder.encode(TEXTS), atol=1e-5)
    with pytest.raises(UsageError, match="holds something already"):
        encoder.save(tmp_path / "encoder")


def test_a_changed_folder_is_refused(encoder, tmp_path):
    encoder.save(tmp_path / "encoder")
    vocabulary = tmp_path / "encoder" / "chinese" / "assets" / "tokenizer" / "vocabulary.txt"
    text = vocabulary.read_text()
    vocabulary.write_text(text.replace("king", "kong"))
    with pytest.raises(CorruptFileError, match="vocabulary.txt"):
        LanguageEncoder.load(tmp_path / "encoder")
    vocabulary.write_text(text)
    about = tmp_path / "encoder" / "encoder.json"
    about.write_text(json.dumps({**json.loads(about.read_text()), "format": 99}))
    with pytest.raises(EncoderError, match="this version reads"):
        LanguageEncoder.load(tmp_path / "encoder")


def test_the_fingerprint_follows_each_model_and_their_order(encoder, parts):
    others = [LanguageEncoder(*reversed(parts)), LanguageEncoder(parts[0], parts[0])]
    assert len({encoder.fingerprint, *(other.fingerprint for other in others)}) == 3


def test_learned_poolings_are_refused(parts, tmp_path):
    tokens = TextEncoder.from_preset(
        tiny_preset(tmp_path / "p"), pooling="attention", max_tokens=16
    )
    with pytest.raises(UsageError, match="'attention' is learned from token vectors"):
        LanguageEncoder(parts[0], tokens)


def test_an_export_runs_under_the_loader_of_servers(encoder, tmp_path):
    module = tf.Module()
    module.encoder = encoder
    module.weights = encoder.variables
    signature = tf.function(
        lambda texts: {"features": encoder.embed(texts)},
        input_signature=[tf.TensorSpec([None], tf.string, "texts")],
    )
    options = tf.saved_model.SaveOptions(namespace_whitelist=["TFText"])
    tf.saved_model.save(
        module, str(tmp_path), signatures=signature.get_concrete_function(), options=options
    )
    with tf.compat.v1.Session(graph=tf.Graph()) as session:
        loaded = tf.compat.v1.saved_model.loader.load(session, ["serve"], str(tmp_path))
        found = loaded.signature_def["serving_default"]
        answer = session.run(
            found.outputs["features"].name, {found.inputs["texts"].name: np.array(TEXTS, object)}
        )
    np.testing.assert_allclose(answer, encoder.encode(TEXTS), atol=1e-4)
