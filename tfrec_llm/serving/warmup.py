"""Requests that TensorFlow Serving replays when it loads a model."""

from __future__ import annotations

import importlib
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from google.protobuf.message import DecodeError

from tfrec_llm.errors import CorruptFileError, MissingPackageError
from tfrec_llm.keras_api import tf
from tfrec_llm.serving.plain_tensors import Request, from_json, to_json
from tfrec_llm.serving.signatures import ALL_SIGNATURES

WARMUP_FILE = "assets.extra/tf_serving_warmup_requests"
MOST_RECORDS = 1000  # with more, a server refuses to load the model


def write_warmup(version_folder: Path, requests: Iterable[Request]) -> None:
    """Writes requests where TensorFlow Serving looks for them, at most 1000.

    Only signatures whose inputs all have rows are kept: a server that batches requests refuses
    the scalar `k`, and with such a warm-up request it would refuse to load the model. What they
    do beside is done by the same functions as that of `serving_default`.

    Args:
        version_folder: folder of the SavedModel.
        requests: signatures with their inputs.

    Raises: MissingPackageError when tensorflow-serving-api is not installed.
    """
    path = version_folder / WARMUP_FILE
    path.parent.mkdir(parents=True, exist_ok=True)
    kept = [(name, inputs) for name, inputs in requests if _has_rows(name)][:MOST_RECORDS]
    with tf.io.TFRecordWriter(str(path)) as writer:
        for name, inputs in kept:
            writer.write(prediction_log(name, inputs).SerializeToString())


def read_warmup(version_folder: Path) -> list[Request]:
    """Reads the warm-up requests of an export back, as TensorFlow Serving does.

    Args:
        version_folder: folder of the SavedModel.

    Returns: signatures with their inputs, as NumPy arrays.

    Raises:
        CorruptFileError: when the file is missing, is cut, or holds something else.
        MissingPackageError: when tensorflow-serving-api is not installed.
    """
    path = version_folder / WARMUP_FILE
    if not path.is_file():
        raise CorruptFileError(
            f"{path} is missing. A server does without it, and then its first requests are slow."
        )
    log = serving_api().PredictionLog
    requests: list[Request] = []
    try:
        for record in tf.compat.v1.io.tf_record_iterator(str(path)):
            request = log.FromString(record).predict_log.request
            inputs = {key: tf.make_ndarray(proto) for key, proto in request.inputs.items()}
            requests.append((request.model_spec.signature_name, inputs))
    except (tf.errors.OpError, DecodeError, TypeError, ValueError) as error:
        raise CorruptFileError(
            f"{path} cannot be read to its end, so a server would refuse to load the model: "
            f"{' '.join(str(error).split())[:200]}. Export the model again."
        ) from error
    return requests


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
            "tensorflow-serving-api", "The file of warm-up requests of an export", "serving"
        ) from error


def _has_rows(name: str) -> bool:
    return all(tensor.shape for tensor in ALL_SIGNATURES[name].inputs.values())
