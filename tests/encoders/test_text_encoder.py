import json
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tfrec_llm.encoders.presets import ResolvedPreset
from tfrec_llm.encoders.text_encoder import TextEncoder
from tfrec_llm.errors import CorruptFileError, EncoderError, UsageError
from tfrec_llm.keras_api import tf
from tfrec_llm.testing.tiny_models import tiny_preset

TEXTS = [
    "the man is eating food",
    "",
    "love story of the old king and the young queen in the red house by the blue sea",
    "三体",
    "the man is eating food",
    "war",
    "a train",
]


def test_encode_is_embed_row_by_row(tiny_encoder):
    encoded = tiny_encoder.encode(TEXTS, batch_size=3)
    assert encoded.dtype == np.float32 and encoded.shape == (len(TEXTS), tiny_encoder.dim)
    for text, vector in zip(TEXTS, encoded, strict=True):
        alone = tiny_encoder.embed(tf.constant([text])).numpy()[0]
        np.testing.assert_allclose(vector, alone, atol=1e-5)


def test_embed_works_inside_a_graph(tiny_encoder):
    inside = tf.function(lambda texts: 2.0 * tiny_encoder.embed(texts))(tf.constant(TEXTS))
    np.testing.assert_allclose(inside, 2.0 * tiny_encoder.embed(tf.constant(TEXTS)), atol=1e-5)


@settings(max_examples=25, deadline=None)
@given(st.permutations(range(len(TEXTS))), st.integers(1, 9))
def test_neither_order_nor_batch_size_changes_a_vector(tiny_encoder, order, batch_size):
    encoded = tiny_encoder.encode([TEXTS[i] for i in order], batch_size=batch_size)
    expected = tiny_encoder.encode(TEXTS)[list(order)]
    np.testing.assert_allclose(encoded, expected, atol=1e-5)


def test_different_texts_have_different_vectors(tiny_encoder):
    encoded = tiny_encoder.encode(TEXTS)
    assert np.array_equal(encoded[0], encoded[4])
    assert len(np.unique(encoded.round(4), axis=0)) == len(TEXTS) - 1


def test_no_texts_give_no_rows(tiny_encoder):
    assert tiny_encoder.encode([]).shape == (0, tiny_encoder.dim)
    assert tiny_encoder.embed(tf.zeros([0], tf.string)).shape == (0, tiny_encoder.dim)


def test_a_lone_surrogate_is_encoded_all_the_same(tiny_encoder):
    assert np.isfinite(tiny_encoder.encode(["war \ud800 love"])).all()


def test_many_widths_are_traced_once(tiny_folder):
    encoder = TextEncoder.from_preset(tiny_folder, max_tokens=64)
    traces = []
    pool = encoder._pool
    encoder._pool = lambda *args: traces.append(1) or pool(*args)
    encoder.encode(["the " * n for n in range(60)], batch_size=7)
    assert len(traces) == 1


def test_progress_ends_at_the_total(tiny_encoder):
    class Listener:
        seen = []

        def message(self, text):
            pass

        def advance(self, task, done, total, note=""):
            self.seen.append((task, done, total, note))

    tiny_encoder.encode(TEXTS, batch_size=3, progress=Listener())
    assert [done for _, done, _, _ in Listener.seen] == [3, 6, 7]
    task, _, total, note = Listener.seen[-1]
    assert (task, total) == ("encode texts", 7) and note.endswith(" texts/s")


def test_bfloat16_is_near_float32_and_another_fingerprint(tiny_encoder, tiny_folder):
    coarse = TextEncoder.from_preset(tiny_folder, max_tokens=16, precision="mixed_bfloat16")
    a, b = coarse.encode(TEXTS), tiny_encoder.encode(TEXTS)
    assert a.dtype == np.float32
    assert np.abs(a - b).max() < 0.1 and not np.array_equal(a, b)
    assert coarse.fingerprint != tiny_encoder.fingerprint


def test_weights_that_give_nan_are_told_with_the_text(tiny_folder):
    encoder = TextEncoder.from_preset(tiny_folder, max_tokens=16)
    encoder.variables[0].assign(encoder.variables[0] * np.nan)
    with pytest.raises(EncoderError, match="not finite for the text 'war'"):
        encoder.encode(["war"])


def test_a_saved_encoder_comes_back_the_same(tiny_encoder, tmp_path):
    tiny_encoder.save(tmp_path / "encoder")
    loaded = TextEncoder.load(tmp_path / "encoder")
    assert loaded.fingerprint == tiny_encoder.fingerprint
    assert (loaded.preset.name, loaded.max_tokens) == (tiny_encoder.preset.name, 16)
    assert np.array_equal(loaded.encode(TEXTS), tiny_encoder.encode(TEXTS))


def test_an_encoder_is_not_saved_over_something(tiny_encoder, tmp_path):
    (tmp_path / "mine.txt").write_text("")
    with pytest.raises(UsageError, match="holds something already"):
        tiny_encoder.save(tmp_path)


def test_a_changed_file_of_a_saved_encoder_is_named(tiny_encoder, tmp_path):
    tiny_encoder.save(tmp_path / "encoder")
    vocabulary = tmp_path / "encoder" / "assets" / "tokenizer" / "vocabulary.txt"
    vocabulary.write_text(vocabulary.read_text().replace("king", "kong"))
    with pytest.raises(CorruptFileError, match="vocabulary.txt is missing or not as it was saved"):
        TextEncoder.load(tmp_path / "encoder")


def test_a_folder_that_is_no_saved_encoder_is_told(tmp_path):
    with pytest.raises(EncoderError, match="holds no encoder.json"):
        TextEncoder.load(tmp_path)


def test_a_saved_encoder_of_another_format_is_told(tiny_encoder, tmp_path):
    tiny_encoder.save(tmp_path / "encoder")
    path = tmp_path / "encoder" / "encoder.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "format": 99}))
    with pytest.raises(EncoderError, match="has format 99, this version reads 1"):
        TextEncoder.load(tmp_path / "encoder")


def test_the_fingerprint_follows_settings_and_weights(tiny_folder, tmp_path):
    def fingerprint(folder=tiny_folder, **settings):
        return TextEncoder.from_preset(folder, **{"max_tokens": 16, **settings}).fingerprint

    other_weights = tiny_preset(tmp_path / "other", seed=1)
    found = [
        fingerprint(),
        fingerprint(max_tokens=17),
        fingerprint(other_weights),
    ]
    assert len(set(found)) == len(found)
    assert fingerprint(tiny_preset(tmp_path / "same_weights_elsewhere")) == found[0]


def test_the_fingerprint_follows_trained_weights(tiny_folder):
    encoder = TextEncoder.from_preset(tiny_folder, max_tokens=16)
    before = encoder.fingerprint
    encoder.variables[3].assign_add(tf.ones_like(encoder.variables[3]))
    assert encoder.fingerprint != before


_IN_A_FRESH_PROCESS = """
import sys
import numpy as np
from tfrec_llm.encoders.text_encoder import TextEncoder
from tfrec_llm.keras_api import tf

preset, export, out, texts = *sys.argv[1:4], eval(sys.argv[4])
encoder = TextEncoder.from_preset(preset, max_tokens=16)
with tf.compat.v1.Session(graph=tf.Graph()) as session:
    graph = tf.compat.v1.saved_model.loader.load(session, ["serve"], export)
    signature = graph.signature_def["serving_default"]
    feed = {signature.inputs["texts"].name: [text.encode() for text in texts]}
    served = session.run(signature.outputs["embeddings"].name, feed)
np.savez(out, encoded=encoder.encode(texts), served=served, fingerprint=encoder.fingerprint)
"""


@pytest.fixture(scope="module")
def elsewhere(tiny_encoder, tiny_folder, tmp_path_factory):
    """The same encoder loaded in another process, and its SavedModel as a server loads it."""
    folder = tmp_path_factory.mktemp("elsewhere")
    module = tf.Module()
    module.encoder = tiny_encoder
    module.serve = tf.function(
        lambda texts: {"embeddings": tiny_encoder.embed(texts)},
        input_signature=[tf.TensorSpec([None], tf.string, "texts")],
    )
    options = tf.saved_model.SaveOptions(namespace_whitelist=["TFText"])
    tf.saved_model.save(module, str(folder / "export"), module.serve, options=options)
    arguments = [tiny_folder, folder / "export", folder / "out.npz", repr(TEXTS)]
    command = [sys.executable, "-c", _IN_A_FRESH_PROCESS, *map(str, arguments)]
    run = subprocess.run(command, capture_output=True, text=True)
    assert run.returncode == 0, run.stderr[-2000:]
    with np.load(folder / "out.npz") as found:
        return dict(found)


@pytest.mark.slow
def test_another_process_has_the_same_fingerprint_and_vectors(tiny_encoder, elsewhere):
    assert elsewhere["fingerprint"] == tiny_encoder.fingerprint
    np.testing.assert_allclose(elsewhere["encoded"], tiny_encoder.encode(TEXTS), atol=1e-6)


@pytest.mark.slow
def test_a_server_gives_the_same_vectors(tiny_encoder, elsewhere):
    np.testing.assert_allclose(elsewhere["served"], tiny_encoder.encode(TEXTS), atol=1e-5)


def test_weights_are_listed_without_random_states(tiny_encoder):
    assert all(variable.dtype == tf.float32 for variable in tiny_encoder.variables)
    assert len(tiny_encoder.variables) == len(tiny_encoder.backbone.weights)


@pytest.mark.parametrize(
    ("settings", "error", "message"),
    [
        ({"pooling": "median"}, UsageError, "`pooling` must be one of mean, cls, .*, got 'median'"),
        ({"precision": "float64"}, UsageError, "`precision` must be one of float32, mixed_bfl"),
        ({"clean": "polish"}, UsageError, "`clean` must be one of none, light, full, got 'polish'"),
        ({"max_tokens": 65}, EncoderError, "`max_tokens` is 65, but .* at most 64 tokens"),
    ],
)
def test_settings_that_do_not_fit_are_told(tiny_folder, settings, error, message):
    with pytest.raises(error, match=message):
        TextEncoder.from_preset(tiny_folder, **settings)


def test_a_batch_of_none_is_refused(tiny_encoder):
    with pytest.raises(UsageError, match="`batch_size` must be at least 1, got 0"):
        tiny_encoder.encode(TEXTS, batch_size=0)


def test_the_preset_says_where_an_encoder_came_from(tiny_encoder, tiny_folder):
    assert isinstance(tiny_encoder.preset, ResolvedPreset)
    assert tiny_encoder.preset.location == str(tiny_folder)
