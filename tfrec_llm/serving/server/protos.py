"""Status and metadata of a model as TensorFlow Serving's messages, and as its JSON."""

from __future__ import annotations

import inspect
import json
from collections.abc import Mapping
from typing import Any

import grpc
from google.protobuf.json_format import MessageToDict, MessageToJson
from tensorflow_serving.apis.get_model_metadata_pb2 import (
    GetModelMetadataResponse,
    SignatureDefMap,
)
from tensorflow_serving.apis.get_model_status_pb2 import GetModelStatusResponse

from tfrec_llm.serving.server.loaded_version import LoadedVersion
from tfrec_llm.serving.server.model_versions import Status

# What asks for fields that hold their default too; protobuf renamed it in its version 5.
_NEW_NAME = "always_print_fields_with_no_presence"
_KNOWS_NEW_NAME = _NEW_NAME in inspect.signature(MessageToDict).parameters
_WITH_DEFAULTS = _NEW_NAME if _KNOWS_NEW_NAME else "including_default_value_fields"


def status_response(statuses: Mapping[int, Status]) -> Any:
    """Returns a `GetModelStatusResponse` with a status for each version."""
    response = GetModelStatusResponse()
    for number, status in statuses.items():
        entry = response.model_version_status.add(version=number, state=int(status.state))
        code = grpc.StatusCode.UNKNOWN if status.error else grpc.StatusCode.OK
        entry.status.error_code = code.value[0]
        entry.status.error_message = status.error
    return response


def metadata_response(name: str, version: LoadedVersion) -> Any:
    """Returns a `GetModelMetadataResponse` with the signatures of a version."""
    response = GetModelMetadataResponse()
    response.model_spec.name = name
    response.model_spec.version.value = version.number
    response.metadata["signature_def"].Pack(_signatures(version))
    return response


def status_json(statuses: Mapping[int, Status]) -> str:
    """Returns the body of `GET /v1/models/NAME`."""
    response = status_response(statuses)
    text: str = MessageToJson(response, **{_WITH_DEFAULTS: True}, indent=1)
    return text


def metadata_json(name: str, version: LoadedVersion) -> str:
    """Returns the body of `GET /v1/models/NAME/metadata`."""
    options = {_WITH_DEFAULTS: True, "preserving_proto_field_name": True}
    spec = {"name": name, "signature_name": "", "version": str(version.number)}
    signatures = MessageToDict(_signatures(version), **options)
    return json.dumps({"model_spec": spec, "metadata": {"signature_def": signatures}}, indent=1)


def _signatures(version: LoadedVersion) -> Any:
    signatures = SignatureDefMap()
    for name, definition in version.signature_defs.items():
        signatures.signature_def[name].CopyFrom(definition)
    return signatures
