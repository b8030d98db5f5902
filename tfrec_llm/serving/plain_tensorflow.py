"""TensorFlow without Keras, for processes that only serve."""

from __future__ import annotations

import os
import sys
from typing import Any


def plain_tensorflow() -> Any:
    """Imports TensorFlow as `keras_api` does, without Keras, which takes seconds to load.

    Returns: the module `tensorflow`.
    """
    if "tfrec_llm.keras_api" in sys.modules:
        from tfrec_llm.keras_api import tf

        return tf
    os.environ["TF_USE_LEGACY_KERAS"] = "1"
    import tensorflow

    return tensorflow
