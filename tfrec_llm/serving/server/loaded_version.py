"""One version of a model in memory: arrays in, arrays out."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np

from tfrec_llm.errors import RequestError
from tfrec_llm.serving.loaded import load
from tfrec_llm.serving.plain_tensorflow import plain_tensorflow
from tfrec_llm.serving.signatures import Tensor

Arrays = dict[str, np.ndarray]
"""Arrays by the name of an input or output; strings are object arrays of bytes."""

_WARMUP_FILE = "assets.extra/tf_serving_warmup_requests"
_SAID_BY_ASSERTION = re.compile(r"assertion failed: \[([^\]]*)\]")
_OP = re.compile(r" ?\[Op:[^\]]*\]")
_NOISE = ("Graph execution error", "Detected at node", "<stack traces", "\t [[")
_CODES = {
    "InvalidArgumentError": "INVALID_ARGUMENT",
    "OutOfRangeError": "INVALID_ARGUMENT",
    "ResourceExhaustedError": "RESOURCE_EXHAUSTED",
}


class LoadedVersion:
    """Answers the signatures of one version.

    Args:
        folder: the version's folder.
        number: int, the version.
        model: the loaded SavedModel.
        signature_defs: `SignatureDef` by signature, as they stand in the file.

    Attributes:
        users: int, requests that hold it now; counted by `ModelVersions`.
    """

    def __init__(
        self, folder: Path, number: int, model: Any, signature_defs: dict[str, Any]
    ) -> None:
        self.folder = folder
        self.number = number
        self.signature_defs = signature_defs
        self.users = 0
        self._functions = dict(model.signatures)
        self._model = model  # its variables live as long as it does
        self.inputs: dict[str, dict[str, Tensor]] = {
            name: {key: _tensor(info) for key, info in sorted(definition.inputs.items())}
            for name, definition in signature_defs.items()
        }

    @classmethod
    def load(cls, folder: Path, number: int) -> LoadedVersion:
        """Loads a version, checks its files, and replays its warm-up requests.

        Args:
            folder: the version's folder.
            number: int, the version.

        Raises: TfrecLlmError as `tfrec_llm.serving.loaded.load` does; RequestError when it does
            not answer its own warm-up requests.
        """
        model = load(folder).model
        from tensorflow.core.protobuf.saved_model_pb2 import SavedModel

        saved = SavedModel.FromString((folder / "saved_model.pb").read_bytes())
        definitions = saved.meta_graphs[0].signature_def
        # The function that initialises tables is no signature to ask.
        named = {name: definitions[name] for name in sorted(model.signatures)}
        version = cls(folder, number, model, named)
        version.warm_up()
        return version

    def warm_up(self) -> None:
        """Replays the version's own warm-up requests, and asks each other signature once.

        The file leaves out signatures with a scalar `k`, whose first answer would be slow too.

        Raises: RequestError when one is not answered.
        """
        replayed = self._replay() if (self.folder / _WARMUP_FILE).is_file() else set()
        for name, inputs in self.inputs.items():
            if name not in replayed:
                self.run(name, {key: _any_value(key, tensor) for key, tensor in inputs.items()})

    def _replay(self) -> set[str]:
        """Asks what the file holds, and returns the signatures that it asked."""
        tf = plain_tensorflow()
        from tensorflow_serving.apis.prediction_log_pb2 import PredictionLog

        asked = set()
        records = tf.data.TFRecordDataset(str(self.folder / _WARMUP_FILE))
        for record in records.as_numpy_iterator():
            request = PredictionLog.FromString(record).predict_log.request
            arrays = {name: tf.make_ndarray(value) for name, value in request.inputs.items()}
            name = request.model_spec.signature_name or "serving_default"
            self.run(name, arrays)
            asked.add(name)
        return asked

    def run(self, signature: str, arrays: Arrays) -> Arrays:
        """Answers a request whose inputs have the dtypes and shapes of the signature.

        Args:
            signature: a name among `inputs`.
            arrays: one array for each input.

        Returns: one array for each output.

        Raises: RequestError when the graph refuses the request or cannot answer it.
        """
        tf = plain_tensorflow()
        specs = self.inputs[signature]
        tensors = {
            name: tf.constant(value, specs[name].dtype, shape=value.shape)
            for name, value in arrays.items()
        }
        try:
            answer = self._functions[signature](**tensors)
            return {name: value.numpy() for name, value in answer.items()}
        except tf.errors.OpError as error:
            code = _CODES.get(type(error).__name__, "INTERNAL")
            raise RequestError(_short(error.message), code) from error
        except UnicodeDecodeError as error:  # an OpError that quotes bytes of the request
            raise RequestError(_short(error.object.decode("utf-8", "replace"))) from error


def _tensor(info: Any) -> Tensor:
    dtype = plain_tensorflow().as_dtype(info.dtype).name
    return Tensor(dtype, tuple(d.size if d.size >= 0 else None for d in info.tensor_shape.dim))


def _any_value(name: str, tensor: Tensor) -> np.ndarray:
    """Returns one row with one value, or the scalar 1: something that every signature takes."""
    shape = [1 if size is None else size for size in tensor.shape]
    if tensor.dtype != "string":
        return np.ones(shape, tensor.dtype)
    return np.full(shape, b"" if name == "examples" else b"warm up", object)


def _short(message: str) -> str:
    """Returns what an assertion of the graph says, or the first lines that are no trace."""
    said = _SAID_BY_ASSERTION.search(message)
    if said:
        return said.group(1)
    lines = [line for line in message.splitlines() if line and not line.startswith(_NOISE)]
    return _OP.sub("", " ".join(" ".join(lines).split()))[:500]
