"""Each supported family from texts to vectors in a SavedModel, loaded as a server loads it."""

import subprocess
import sys

import numpy as np
import pytest

from tfrec_llm.encoders.presets import FAMILIES as SUPPORTED
from tfrec_llm.encoders.text_encoder import TextEncoder
from tfrec_llm.keras_api import tf
from tfrec_llm.testing.tiny_models import FAMILIES, tiny_preset

pytestmark = pytest.mark.slow

TEXTS = [b"the man is eating food", b"", b"\xff the\x00 king", "三体 & Café".encode(), b"the " * 40]

_LOAD_IN_A_FRESH_PROCESS = """
import sys
import numpy as np
import tensorflow as tf
import tensorflow_text
folder, texts = sys.argv[1], eval(sys.argv[2])
vectors = {}
for family in sys.argv[3:]:
    with tf.compat.v1.Session(graph=tf.Graph()) as session:
        graph = tf.compat.v1.saved_model.loader.load(session, ["serve"], f"{folder}/{family}")
        signature = graph.signature_def["serving_default"]
        feed = {signature.inputs["texts"].name: texts}
        vectors[family] = session.run(signature.outputs["embeddings"].name, feed)
np.savez(f"{folder}/vectors.npz", **vectors)
"""


class Served(tf.Module):
    """What an export does with an encoder: holds it, and calls `embed` in a signature."""

    def __init__(self, encoder):
        super().__init__()
        self.encoder = encoder

        def serve(texts):
            return {"embeddings": encoder.embed(texts)}

        self.serve = tf.function(serve, input_signature=[tf.TensorSpec([None], tf.string, "texts")])


@pytest.fixture(scope="module")
def encoders(tmp_path_factory):
    folder = tmp_path_factory.mktemp("families")
    return {
        family: TextEncoder.from_preset(tiny_preset(folder / family, family), max_tokens=16)
        for family in FAMILIES
    }


@pytest.fixture(scope="module")
def served_vectors(encoders, tmp_path_factory):
    folder = tmp_path_factory.mktemp("served")
    options = tf.saved_model.SaveOptions(namespace_whitelist=["TFText"])
    for family, encoder in encoders.items():
        module = Served(encoder)
        tf.saved_model.save(module, str(folder / family), module.serve, options=options)
    command = [sys.executable, "-c", _LOAD_IN_A_FRESH_PROCESS, str(folder), repr(TEXTS), *encoders]
    run = subprocess.run(command, capture_output=True, text=True)
    assert run.returncode == 0, run.stderr[-2000:]
    with np.load(folder / "vectors.npz") as vectors:
        return dict(vectors)


def test_every_supported_family_is_tested(encoders):
    backbones = [encoder.backbone for encoder in encoders.values()]
    families = {getattr(b, "family", type(b).__name__) for b in backbones}
    assert families == set(SUPPORTED)


@pytest.mark.parametrize("family", FAMILIES)
def test_a_fresh_v1_loader_gives_the_same_vectors(encoders, served_vectors, family):
    expected = encoders[family].embed(tf.constant(TEXTS)).numpy()
    np.testing.assert_allclose(served_vectors[family], expected, atol=1e-5)


@pytest.mark.parametrize("family", FAMILIES)
def test_padding_changes_nothing(encoders, family):
    encoder = encoders[family]
    words = "the man is eating food in the old house".split()
    texts = ["", *(" ".join(words[:count]) for count in range(1, len(words) + 1)), "the " * 40]
    alone = np.concatenate([encoder.embed(tf.constant([text])).numpy() for text in texts])
    np.testing.assert_allclose(encoder.embed(tf.constant(texts)), alone, atol=1e-5)
    np.testing.assert_allclose(encoder.encode(texts), alone, atol=1e-5)
    assert np.abs(alone[1] - alone[-1]).max() > 1e-3


@pytest.mark.parametrize("family", FAMILIES)
def test_a_saved_encoder_of_the_family_comes_back(encoders, family, tmp_path):
    encoders[family].save(tmp_path / "encoder")
    loaded = TextEncoder.load(tmp_path / "encoder")
    assert loaded.fingerprint == encoders[family].fingerprint
    np.testing.assert_allclose(
        loaded.encode(["love story"]), encoders[family].encode(["love story"]), atol=1e-6
    )
