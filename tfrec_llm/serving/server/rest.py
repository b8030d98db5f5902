"""TensorFlow Serving's REST API as a Starlette application."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Callable
from typing import Any, TypeVar
from urllib.parse import unquote

from starlette.applications import Starlette
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import Route

from tfrec_llm.errors import RequestError
from tfrec_llm.progress import Progress
from tfrec_llm.serving.server import json_requests, protos
from tfrec_llm.serving.server.metrics import CONTENT_TYPE, Measured
from tfrec_llm.serving.server.predictor import Predictor, Target

T = TypeVar("T")
METRICS_PATH = "/monitoring/prometheus/metrics"
_WHICH = r"/v1/models/([^/:]+)(?:/versions/(\d+)|/labels/([^/:]+))?"
_PREDICT = re.compile(_WHICH + r":(classify|regress|predict)", re.IGNORECASE | re.ASCII)
_STATUS = re.compile(_WHICH + r"(/metadata)?", re.IGNORECASE | re.ASCII)
_METHODS = ["GET", "POST", "PUT", "DELETE", "PATCH", "OPTIONS"]
_HTTP = {
    "INVALID_ARGUMENT": 400,
    "FAILED_PRECONDITION": 400,
    "NOT_FOUND": 404,
    "REQUEST_TIMEOUT": 408,
    "BODY_TOO_LARGE": 413,
    "UNSUPPORTED_MEDIA_TYPE": 415,
    "RESOURCE_EXHAUSTED": 429,
    "UNAVAILABLE": 503,
    "DEADLINE_EXCEEDED": 504,
}
_LARGE = 1 << 16  # bytes
_MAX_INT64 = 2**63 - 1


class _Rest:
    def __init__(self, predictor: Predictor, max_body_bytes: int, progress: Progress) -> None:
        self._predictor = predictor
        self._max_body_bytes = max_body_bytes
        self._progress = progress

    async def answer(self, request: Request) -> Response:
        path = request.scope.get("raw_path", request.url.path.encode()).decode("latin-1")
        path = path.partition("?")[0]
        if path == METRICS_PATH and request.method == "GET":
            return Response(self._predictor.metrics.text(), media_type=CONTENT_TYPE)
        try:
            if request.method == "GET" and (found := _STATUS.fullmatch(path)):
                target = _target(*found.group(1, 2, 3))
                return _json(self._told(target, is_metadata=bool(found.group(4))))
            with self._predictor.metrics.request("REST") as measured:
                found = _PREDICT.fullmatch(path) if request.method == "POST" else None
                if found is None:
                    code = "INVALID_ARGUMENT" if path.lower().startswith("/v1/") else "NOT_FOUND"
                    what = f"Malformed request: {request.method} {path[:200]}"
                    raise RequestError(what, code)
                if found.group(4).lower() != "predict":
                    raise RequestError(
                        f"The exports of tfrec_llm have no signature to {found.group(4)} with. "
                        "Use :predict."
                    )
                body = await self._body(request)
                target = _target(*found.group(1, 2, 3))
                return _json(await self._predicted(target, body, measured))
        except RequestError as error:
            return _refused(str(error), _HTTP.get(error.code, 500))
        except ClientDisconnect:
            return Response(status_code=400)
        except Exception as error:
            self._progress.message(f"Internal error: {type(error).__name__}: {error}")
            return _refused(f"Internal error: {type(error).__name__}", 500)

    async def _predicted(self, target: Target, body: bytes, measured: Measured) -> bytes:
        try:
            document = await _beside(len(body), json_requests.parse_body, body)
            is_row_format = False

            def arrays_of(inputs: json_requests.Inputs) -> json_requests.Arrays:
                nonlocal is_row_format
                is_row_format, arrays = json_requests.arrays_of(document, inputs)
                return arrays

            signature = json_requests.signature_name(document)
            _, answer = await self._predictor.ask(target, signature, arrays_of, measured)
        except RecursionError:
            raise RequestError("JSON Parse error: Values are nested too deeply.") from None
        size = sum(array.nbytes for array in answer.values())
        return await _beside(size, json_requests.answer_body, answer, is_row_format)

    def _told(self, target: Target, is_metadata: bool) -> bytes:
        versions = self._predictor.versions
        if is_metadata:
            with versions.hold(target.name, target.version, target.label) as version:
                return protos.metadata_json(target.name, version).encode()
        statuses = versions.statuses(target.name, target.version, target.label)
        return protos.status_json(statuses).encode()

    async def _body(self, request: Request) -> bytes:
        """Reads the body, no more of it and no longer than allowed."""
        if request.headers.get("content-encoding", "identity").lower() != "identity":
            raise RequestError("Send the body without Content-Encoding.", "UNSUPPORTED_MEDIA_TYPE")
        length = request.headers.get("content-length", "0")
        body = bytearray()

        async def read() -> None:
            async for part in request.stream():
                body.extend(part)
                if len(body) > self._max_body_bytes:
                    raise self._too_large()

        if length.isdecimal() and int(length) > self._max_body_bytes:
            raise self._too_large()
        try:
            await asyncio.wait_for(read(), self._predictor.timeout_seconds)
        except (TimeoutError, asyncio.TimeoutError):
            message = f"The body did not come within {self._predictor.timeout_seconds:g} seconds."
            raise RequestError(message, "REQUEST_TIMEOUT") from None
        return bytes(body)

    def _too_large(self) -> RequestError:
        return RequestError(
            f"The body is larger than {self._max_body_bytes} bytes, the most that this server "
            "takes (--max-body-mb).",
            "BODY_TOO_LARGE",
        )


def rest_app(predictor: Predictor, max_body_bytes: int, progress: Progress) -> Starlette:
    """Makes the application: `:predict`, status, metadata and Prometheus metrics.

    Args:
        predictor: answers.
        max_body_bytes: int, longer bodies are refused with 413.
        progress: is told of faults of the server itself.

    Returns: an ASGI application. Errors are `{"error": …}`, never a traceback.
    """
    rest = _Rest(predictor, max_body_bytes, progress)
    return Starlette(routes=[Route("/{path:path}", rest.answer, methods=_METHODS)])


def _target(name: str, version: str | None, label: str | None) -> Target:
    if version is not None and int(version[:30]) > _MAX_INT64:
        raise RequestError(f"Failed to convert version: {version[:30]} to numeric.")
    number = None if version is None else int(version)
    return Target(unquote(name), number, unquote(label or ""))


async def _beside(size: int, function: Callable[..., T], *arguments: Any) -> T:
    """Calls a function; with much to do in a thread, so that other requests go on meanwhile."""
    if size < _LARGE:
        return function(*arguments)
    return await asyncio.to_thread(function, *arguments)


def _json(body: bytes) -> Response:
    return Response(body, media_type="application/json")


def _refused(message: str, status: int) -> Response:
    # A body that was not read to its end would be taken for the next request.
    headers = {"Connection": "close"} if status in (408, 413, 415) else None
    body = json.dumps({"error": message}).encode()
    return Response(body, status, headers, media_type="application/json")
