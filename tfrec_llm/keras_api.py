"""The one door to TensorFlow, Keras, TensorFlow Recommenders and keras-nlp.

keras-nlp needs Keras 3; TensorFlow Recommenders needs Keras 2 behind `tf.keras`. Both live in
one process when `TF_USE_LEGACY_KERAS=1` is set before `tf.keras` is first used: then `tf.keras`
is tf_keras and `import keras` stays Keras 3. Every module of this package imports them from here:

    from tfrec_llm.keras_api import keras, tf          # loaded at once
    from tfrec_llm.keras_api import keras_nlp, tfrs    # loaded when first asked for
"""

from __future__ import annotations

import importlib
import os
import sys
from typing import Any

from tfrec_llm.errors import ImportOrderError

_MEND = (
    "Import tfrec_llm.keras_api (or use anything of tfrec_llm) before TensorFlow, or start "
    "Python with TF_USE_LEGACY_KERAS=1 and KERAS_BACKEND=tensorflow in its environment."
)


def _check_environment() -> None:
    backend = os.environ.get("KERAS_BACKEND", "tensorflow")
    if backend != "tensorflow":
        raise ImportOrderError(
            f"KERAS_BACKEND is {backend!r}, but tfrec_llm trains and exports with TensorFlow. "
            f"{_MEND}"
        )
    loaded_keras = sys.modules.get("keras")
    if loaded_keras is not None and loaded_keras.config.backend() != "tensorflow":
        raise ImportOrderError(
            f"Keras was already imported with the backend {loaded_keras.config.backend()!r}, but "
            f"tfrec_llm trains and exports with TensorFlow. {_MEND}"
        )


def _import_tensorflow() -> Any:
    os.environ["TF_USE_LEGACY_KERAS"] = "1"
    os.environ["KERAS_BACKEND"] = "tensorflow"  # wins over another one in ~/.keras/keras.json
    import tensorflow

    # `tf.keras` picks its generation at first use; by now it is either ours or past mending.
    generation = tensorflow.keras.layers.Layer.__module__.split(".")[0]
    if generation != "tf_keras":
        raise ImportOrderError(
            "TensorFlow was imported, and its `tf.keras` used, before tfrec_llm: `tf.keras` is "
            f"already Keras 3 ({generation}), but TensorFlow Recommenders needs Keras 2 there, and "
            f"the choice cannot be changed in a running process. {_MEND}"
        )
    return tensorflow


_check_environment()
tf = _import_tensorflow()

import keras  # noqa: E402 - must follow TensorFlow, see above

_LAZY = {
    "keras_nlp": "keras_nlp",
    "tfrs": "tensorflow_recommenders",
    "tf_text": "tensorflow_text",
}


def __getattr__(name: str) -> Any:
    """Loads keras_nlp, tfrs or tf_text on first use."""
    if name not in _LAZY:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    module = importlib.import_module(_LAZY[name])
    globals()[name] = module
    return module


__all__ = ["keras", "keras_nlp", "tf", "tf_text", "tfrs"]  # noqa: F822 - the lazy ones
