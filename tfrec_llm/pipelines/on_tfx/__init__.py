"""The part that needs TFX; importing it does what must be done before TFX is imported.

TFX imports TensorFlow Recommenders, which needs Keras 2 behind `tf.keras` from the first moment.
Evaluator and BulkInferrer load SavedModels in their own processes or threads, where the op
libraries of an export must be registered already; nothing else would import them there.
"""

from __future__ import annotations

import importlib.util

from tfrec_llm.errors import MissingPackageError

if importlib.util.find_spec("tfx") is None:
    raise MissingPackageError(
        "tfx",
        "A TFX pipeline, in an environment of its own with Python 3.10 (make tfx-install),",
        "tfx",
    )
from tfrec_llm.keras_api import tf_text  # noqa: E402, F401 - registers the ops of tokenizers

if importlib.util.find_spec("scann") is not None:
    import scann  # noqa: F401 - registers its ops
