"""TensorFlow Serving's gRPC services."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import grpc
import numpy as np
from tensorflow_serving.apis import (
    model_service_pb2_grpc,
    predict_pb2,
    prediction_service_pb2_grpc,
)

from tfrec_llm.errors import RequestError
from tfrec_llm.progress import Progress
from tfrec_llm.serving.plain_tensorflow import plain_tensorflow
from tfrec_llm.serving.server import protos
from tfrec_llm.serving.server.checked_inputs import check_size
from tfrec_llm.serving.server.loaded_version import Arrays
from tfrec_llm.serving.server.predictor import Predictor, Target
from tfrec_llm.serving.signatures import Tensor


class PredictionService(prediction_service_pb2_grpc.PredictionServiceServicer):
    """`Predict` and `GetModelMetadata`; the other methods are not implemented.

    Args:
        predictor: answers.
        progress: is told of faults of the server itself.
    """

    def __init__(self, predictor: Predictor, progress: Progress) -> None:
        self._predictor = predictor
        self._progress = progress

    async def Predict(self, request: Any, context: Any) -> Any:
        """Answers a `PredictRequest`."""
        try:
            with self._predictor.metrics.request("gRPC") as measured:
                signature = request.model_spec.signature_name or "serving_default"
                number, answer = await self._predictor.ask(
                    _target(request.model_spec),
                    signature,
                    lambda inputs: _arrays(request.inputs, inputs),
                    measured,
                    no_signature="FAILED_PRECONDITION",
                )
                return _response(request, signature, number, answer)
        except Exception as error:
            await self._abort(error, context)

    async def GetModelMetadata(self, request: Any, context: Any) -> Any:
        """Tells the signatures of a version."""
        try:
            if list(request.metadata_field) != ["signature_def"]:
                raise RequestError(
                    f"Metadata field must be signature_def, got {list(request.metadata_field)[:5]}."
                )
            target = _target(request.model_spec)
            versions = self._predictor.versions
            with versions.hold(target.name, target.version, target.label) as version:
                return protos.metadata_response(target.name, version)
        except Exception as error:
            await self._abort(error, context)

    async def _abort(self, error: Exception, context: Any) -> None:
        await abort(error, context, self._progress)


class ModelService(model_service_pb2_grpc.ModelServiceServicer):
    """`GetModelStatus`.

    Args:
        predictor: knows the versions.
        progress: is told of faults of the server itself.
    """

    def __init__(self, predictor: Predictor, progress: Progress) -> None:
        self._predictor = predictor
        self._progress = progress

    async def GetModelStatus(self, request: Any, context: Any) -> Any:
        """Tells where each version stands."""
        try:
            target = _target(request.model_spec)
            versions = self._predictor.versions
            return protos.status_response(
                versions.statuses(target.name, target.version, target.label)
            )
        except Exception as error:
            await abort(error, context, self._progress)


async def abort(error: Exception, context: Any, progress: Progress) -> None:
    """Ends a call with the status of an error.

    Args:
        error: a RequestError, or a fault of the server.
        context: of the call.
        progress: is told of a fault.
    """
    if isinstance(error, RequestError):
        await context.abort(grpc.StatusCode[error.code], str(error))
    progress.message(f"Internal error: {type(error).__name__}: {error}")
    await context.abort(grpc.StatusCode.INTERNAL, f"Internal error: {type(error).__name__}")


def _target(spec: Any) -> Target:
    version = spec.version.value if spec.HasField("version") else None
    return Target(spec.name, version, spec.version_label)


def _arrays(sent: Mapping[str, Any], inputs: Mapping[str, Tensor]) -> Arrays:
    tf = plain_tensorflow()
    arrays: Arrays = {}
    for name, proto in sent.items():
        if name not in inputs:
            arrays[name] = np.empty(0)  # told together with what is missing
            continue
        with _refusing(name):
            dtype = tf.as_dtype(proto.dtype).name
            if dtype != inputs[name].dtype:
                raise RequestError(
                    f"Input {name} must be of type {inputs[name].dtype} but is {dtype}."
                )
            if proto.tensor_shape.unknown_rank:
                raise RequestError(f"Input {name} has no shape.")
            shape = [dim.size for dim in proto.tensor_shape.dim]
            check_size(name, shape)  # before memory is taken for it
            array = tf.make_ndarray(proto)
            if list(array.shape) != shape:
                raise RequestError(f"Input {name} does not hold the values of its shape.")
            arrays[name] = array
    return arrays


@contextmanager
def _refusing(name: str) -> Iterator[None]:
    try:
        yield
    except (TypeError, ValueError, IndexError) as error:
        raise RequestError(f"Input {name} is no tensor: {error}") from error


def _response(request: Any, signature: str, number: int, answer: Arrays) -> Any:
    tf = plain_tensorflow()
    wanted = list(request.output_filter) or list(answer)
    unknown = sorted(set(wanted) - set(answer))
    if unknown:
        raise RequestError(
            f"output tensor alias not found in signature: {unknown[0]} Outputs expected to be in "
            f"the set {{{','.join(sorted(answer))}}}."
        )
    response = predict_pb2.PredictResponse()
    response.model_spec.name = request.model_spec.name
    response.model_spec.version.value = number
    response.model_spec.signature_name = signature
    for name in wanted:
        response.outputs[name].CopyFrom(_proto(tf, answer[name]))
    return response


def _proto(tf: Any, array: Any) -> Any:
    dtype = tf.string if array.dtype == object else array.dtype
    return tf.make_tensor_proto(array, dtype, shape=array.shape)
