"""Asks a server over gRPC."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from tfrec_llm.errors import MissingPackageError, RequestError, UnavailableError, UsageError
from tfrec_llm.serving.client.queries import Questions
from tfrec_llm.serving.client.retries import NotThere, with_retries
from tfrec_llm.serving.plain_tensorflow import plain_tensorflow
from tfrec_llm.serving.signatures import ALL_SIGNATURES


class GrpcClient(Questions):
    """Asks TensorFlow Serving, or `tfrec-llm serve`, over gRPC.

    It may be used from several threads.

    Args:
        address: of the server, such as `localhost:8500`.
        name: of the model.
        version: int, or None for the newest.
        label: of a version, instead of its number.
        timeout: float, seconds for each try.
        retries: int >= 0, how often a server that cannot be reached is asked again. Refused
            requests and those that took too long are not sent again.

    Raises: MissingPackageError when tensorflow-serving-api is not installed.

    Example:
        >>> client = GrpcClient("localhost:8500", "books")
        >>> client.close()
    """

    def __init__(
        self,
        address: str,
        name: str,
        *,
        version: int | None = None,
        label: str | None = None,
        timeout: float = 10.0,
        retries: int = 3,
    ) -> None:
        super().__init__(self.predict)
        try:
            import grpc
            from tensorflow_serving.apis import predict_pb2, prediction_service_pb2_grpc
        except ImportError as error:
            raise MissingPackageError(
                "tensorflow-serving-api", "Asking a server over gRPC", "serving"
            ) from error
        self._grpc = grpc
        self._new_request = predict_pb2.PredictRequest
        self._address = address
        self._name, self._version, self._label = name, version, label
        self._timeout = timeout
        self._retries = retries
        self._channel = grpc.insecure_channel(
            address,
            options=[
                ("grpc.max_receive_message_length", -1),
                # No longer than the waits between tries, else a server that is back is not seen.
                ("grpc.initial_reconnect_backoff_ms", 100),
                ("grpc.max_reconnect_backoff_ms", 5000),
            ],
        )
        self._stub = prediction_service_pb2_grpc.PredictionServiceStub(self._channel)

    def predict(self, signature: str, inputs: Mapping[str, Any]) -> Mapping[str, Any]:
        """Asks any signature.

        Args:
            signature: its name.
            inputs: nested lists of str, bytes or int by input; a list of a list without ids is
                one empty history.

        Returns: nested lists of str and float by output.

        Raises:
            UsageError: when a value is no tensor.
            RequestError: when the server refuses the request.
            UnavailableError: when it cannot be reached or is too slow.
        """
        tf = plain_tensorflow()
        request = self._new_request()
        request.model_spec.name = self._name
        request.model_spec.signature_name = signature
        if self._version is not None:
            request.model_spec.version.value = self._version
        elif self._label is not None:
            request.model_spec.version_label = self._label
        for key, value in inputs.items():
            dtype = _dtype(signature, key, value)
            try:
                shape = np.array(value, dtype=object).shape
                request.inputs[key].CopyFrom(tf.make_tensor_proto(value, dtype, shape))
            except (TypeError, ValueError) as error:
                raise UsageError(
                    f'The input {key!r} is no tensor: {error}. Pad rows to the same width with "".'
                ) from error
        response = with_retries(lambda: self._send(request), self._address, self._retries)
        return {key: _plain(tf.make_ndarray(t)) for key, t in response.outputs.items()}

    def close(self) -> None:
        """Closes the connection."""
        self._channel.close()

    def _send(self, request: Any) -> Any:
        try:
            return self._stub.Predict(request, timeout=self._timeout)
        except self._grpc.RpcError as error:
            code, details = error.code(), error.details()
            if code is self._grpc.StatusCode.UNAVAILABLE:
                raise NotThere(details) from error
            if code is self._grpc.StatusCode.DEADLINE_EXCEEDED:
                raise UnavailableError(
                    f"{self._address} gave no answer within {self._timeout:g} seconds."
                ) from error
            raise RequestError(
                f"{self._address} refused the request ({code.name}): {details}", code.name
            ) from error


def _dtype(signature: str, key: str, value: Any) -> str:
    """Returns the dtype that a signature of ours takes; of another it follows from the value."""
    known = ALL_SIGNATURES.get(signature)
    if known is not None and key in known.inputs:
        return known.inputs[key].dtype
    return "int32" if isinstance(value, int) else "string"


def _plain(array: np.ndarray) -> Any:
    if array.dtype != object:
        return array.tolist()
    texts = [raw.decode("utf-8", "replace") for raw in array.reshape(-1).tolist()]
    return np.array(texts, dtype=object).reshape(array.shape).tolist()
