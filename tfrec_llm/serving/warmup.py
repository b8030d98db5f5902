"""Requests that TensorFlow Serving replays when it loads a model."""

from __future__ import annotations

import importlib
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from tfrec_llm.errors import MissingPackageError
from tfrec_llm.keras_api import tf
from tfrec_llm.serving.plain_tensors import Request, from_json, to_json
from tfrec_llm.serving.signatures import ALL_SIGNATURES

WARMUP_FILE = "assets.extra/tf_serving_warmup_requests"


def write_warmup(version_folder: Path, requests: Iterable[Request]) -> None:
    """Writes requests where TensorFlow Serving looks for them, at most 1000.

    Only signatures whose inputs all have rows are kept: a server that batches requests refuses
    the scalar `k`, and with such a warm-up request it would refuse to load the model.

    Args:
        version_folder: folder of the SavedModel.
        requests: signatures with their inputs.

    Raises: MissingPackageError when tensorflow-serving-api is not installed.
    """
    path = version_folder / WARMUP_FILE
    path.parent.mkdir(parents=True, exist_ok=True)
    kept = [(name, inputs) for name, inputs in requests if _has_rows(name)][:1000]
    with tf.io.TFRecordWriter(str(path)) as writer:
        for name, inputs in kept:
            writer.write(prediction_log(name, inputs).SerializeToString())


def prediction_log(name: str, inputs: Any) -> Any:
    """Returns one request as a `PredictionLog`.

    Args:
        name: the signature.
        inputs: nested lists by input name.

    Raises: MissingPackageError when tensorflow-serving-api is not installed.
    """
    log = serving_api().PredictionLog()
    request = log.predict_log.request
    request.model_spec.signature_name = name
    for key, tensor in ALL_SIGNATURES[name].inputs.items():
        value = from_json(to_json(inputs[key]))
        request.inputs[key].CopyFrom(tf.make_tensor_proto(value, tf.as_dtype(tensor.dtype)))
    return log


def serving_api() -> Any:
    """Returns the module of `PredictionLog`, or says what to install.

    Raises: MissingPackageError when tensorflow-serving-api is not installed.
    """
    try:
        return importlib.import_module("tensorflow_serving.apis.prediction_log_pb2")
    except ImportError as error:
        raise MissingPackageError(
            "tensorflow-serving-api", "Writing the warm-up requests of an export", "serving"
        ) from error


def _has_rows(name: str) -> bool:
    return all(tensor.shape for tensor in ALL_SIGNATURES[name].inputs.values())
