"""Each order of imports in a process of its own: it can be chosen only once."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

# Prints one line: the generation behind tf.keras, the generation of keras, its backend.
SHOW = """
from tfrec_llm.keras_api import keras, tf
print(tf.keras.layers.Layer.__module__.split(".")[0], keras.__version__[0], keras.config.backend())
"""
BOTH = "tf_keras 3 tensorflow\n"


def run(code: str, **environment: str) -> subprocess.CompletedProcess[str]:
    ours = ("KERAS_BACKEND", "TF_USE_LEGACY_KERAS", "KERAS_HOME")
    clean = {name: value for name, value in os.environ.items() if name not in ours}
    return subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        env={**clean, "TF_CPP_MIN_LOG_LEVEL": "3", **environment},
    )


@pytest.mark.slow
def test_both_generations_live_in_one_process() -> None:
    done = run(
        SHOW
        + """
from tfrec_llm.keras_api import keras_nlp, tf_text, tfrs

class Model(tfrs.Model):
    def __init__(self):
        super().__init__()
        self.task = tfrs.tasks.Retrieval()
        self.user = tf.keras.layers.Dense(4)
        self.item = tf.keras.layers.Dense(4)

    def compute_loss(self, features, training=False):
        return self.task(self.user(features["user"]), self.item(features["item"]),
                         compute_metrics=False)

model = Model()
model.compile(optimizer=tf.keras.optimizers.SGD(0.1))
rows = {"user": tf.eye(3), "item": tf.eye(3)}
fitted = model.fit(tf.data.Dataset.from_tensors(rows), epochs=1, verbose=0)
backbone = keras_nlp.models.BertBackbone(
    vocabulary_size=8, num_layers=1, num_heads=1, hidden_dim=4, intermediate_dim=4,
    max_sequence_length=4)
ones = tf.ones((1, 4), tf.int32)
vectors = backbone({"token_ids": ones, "segment_ids": ones * 0, "padding_mask": ones})
words = tf_text.WhitespaceTokenizer().tokenize(["a b"]).to_list()
print(len(fitted.history["loss"]), vectors["sequence_output"].shape, words)
"""
    )
    assert done.stdout == BOTH + "1 (1, 4, 4) [[b'a', b'b']]\n", done.stderr


@pytest.mark.slow
def test_a_used_tf_keras_of_the_other_generation_is_named_with_its_mend() -> None:
    done = run("import tensorflow as tf\ntf.keras.layers.Dense\n" + SHOW)
    last = done.stderr.strip().splitlines()[-1]
    assert done.returncode == 1
    assert "ImportOrderError: TensorFlow was imported, and its `tf.keras` used" in last
    assert "before tfrec_llm" in last and "TF_USE_LEGACY_KERAS=1" in last


@pytest.mark.parametrize("backend", ["jax", "torch", "numpy"])
def test_another_backend_in_the_environment_is_refused_at_once(backend: str) -> None:
    done = run(
        "import sys\ntry:\n    import tfrec_llm.keras_api\nfinally:\n"
        "    assert 'tensorflow' not in sys.modules",
        KERAS_BACKEND=backend,
    )
    assert f"ImportOrderError: KERAS_BACKEND is {backend!r}, but" in done.stderr
    assert "KERAS_BACKEND=tensorflow" in done.stderr.strip().splitlines()[-1]


def test_a_keras_that_was_imported_with_another_backend_is_refused() -> None:
    done = run(
        "import sys, types\n"  # the other backends' own packages are not installed here
        "sys.modules['keras'] = types.SimpleNamespace(\n"
        "    config=types.SimpleNamespace(backend=lambda: 'jax'))\n" + SHOW
    )
    assert "ImportOrderError: Keras was already imported with the backend 'jax'" in done.stderr


def test_an_unknown_name_is_an_attribute_error() -> None:
    from tfrec_llm import keras_api

    with pytest.raises(AttributeError, match="has no attribute 'torch'"):
        keras_api.torch  # noqa: B018


@pytest.mark.slow
@pytest.mark.parametrize(
    "first",
    ["import tensorflow", "import keras"],
)
def test_other_orders_work_as_long_as_tf_keras_is_untouched(first: str) -> None:
    done = run(f"{first}\n{SHOW}", TF_USE_LEGACY_KERAS="0")
    assert done.stdout == BOTH, done.stderr


@pytest.mark.slow
def test_a_backend_in_keras_own_settings_gives_way(tmp_path: Path) -> None:
    (tmp_path / "keras.json").write_text('{"backend": "jax"}')
    done = run(SHOW, KERAS_HOME=str(tmp_path))
    assert done.stdout == BOTH, done.stderr


@pytest.mark.slow
def test_keras_nlp_before_this_package_is_named_with_its_mend() -> None:
    done = run("import keras_nlp\n" + SHOW)
    assert "ImportOrderError: TensorFlow was imported, and its `tf.keras` used" in done.stderr
