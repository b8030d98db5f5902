"""Asks a server over REST, with the standard library alone."""

from __future__ import annotations

import http.client
import json
import threading
from collections.abc import Mapping
from typing import Any
from urllib.parse import quote, urlsplit

from tfrec_llm.errors import RequestError, UnavailableError, UsageError
from tfrec_llm.serving.client.queries import Questions
from tfrec_llm.serving.client.retries import NotThere, with_retries

_CODES = {404: "NOT_FOUND", 413: "RESOURCE_EXHAUSTED", 500: "INTERNAL", 504: "DEADLINE_EXCEEDED"}
_BUSY = (429, 502, 503)


class RestClient(Questions):
    """Asks TensorFlow Serving, or `tfrec-llm serve`, over REST.

    It may be used from several threads; each keeps a connection of its own open.

    Args:
        url: of the server, such as `http://localhost:8501`; a path before `/v1` may follow.
        name: of the model.
        version: int, or None for the newest.
        label: of a version, instead of its number.
        timeout: float, seconds for each try.
        retries: int >= 0, how often a server that cannot be reached is asked again. Refused
            requests and those that took too long are not sent again.

    Raises: UsageError when the URL is not one of HTTP.

    Example:
        >>> client = RestClient("http://localhost:8501", "books")
        >>> client.address
        'http://localhost:8501/v1/models/books'
    """

    def __init__(
        self,
        url: str,
        name: str,
        *,
        version: int | None = None,
        label: str | None = None,
        timeout: float = 10.0,
        retries: int = 3,
    ) -> None:
        super().__init__(self.predict)
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise UsageError(f"{url!r} is no URL of a server, such as http://localhost:8501.")
        secure = parts.scheme == "https"
        self._connect = http.client.HTTPSConnection if secure else http.client.HTTPConnection
        self._host, self._port = parts.hostname, parts.port
        self._path = f"{parts.path.rstrip('/')}/v1/models/{quote(name, safe='')}"
        if version is not None:
            self._path += f"/versions/{version}"
        elif label is not None:
            self._path += f"/labels/{quote(label, safe='')}"
        self.address = f"{parts.scheme}://{parts.netloc}{self._path}"
        self._timeout = timeout
        self._retries = retries
        self._kept = threading.local()

    def predict(self, signature: str, inputs: Mapping[str, Any]) -> Mapping[str, Any]:
        """Asks any signature with several outputs, in columnar format.

        Args:
            signature: its name.
            inputs: nested lists by input.

        Returns: nested lists by output.

        Raises:
            RequestError: when the server refuses the request.
            UnavailableError: when it cannot be reached or is too slow.
        """
        body = json.dumps({"signature_name": signature, "inputs": inputs}).encode()
        answer = with_retries(
            lambda: self._send("POST", f"{self._path}:predict", body), self.address, self._retries
        )
        outputs: Mapping[str, Any] = answer["outputs"]
        return outputs

    def status(self) -> Mapping[str, Any]:
        """Returns the status of the model's versions, as the server tells it.

        Raises: as `predict`.
        """
        return with_retries(lambda: self._send("GET", self._path), self.address, self._retries)

    def close(self) -> None:
        """Closes the connection of this thread."""
        connection = self._kept.__dict__.pop("connection", None)
        if connection is not None:
            connection.close()

    def _send(self, method: str, path: str, body: bytes | None = None) -> dict[str, Any]:
        is_old = hasattr(self._kept, "connection")
        try:
            status, raw = self._exchange(method, path, body)
        except TimeoutError as error:
            self.close()
            raise UnavailableError(
                f"{self.address} gave no answer within {self._timeout:g} seconds."
            ) from error
        except (OSError, http.client.HTTPException) as error:
            self.close()
            if is_old:  # a server closes connections that were idle for long
                return self._send(method, path, body)
            raise NotThere(f"{type(error).__name__}: {error}") from error
        if status in _BUSY:
            raise NotThere(f"HTTP status {status}: {_error_of(raw)}")
        if status != 200:
            raise RequestError(
                f"{self.address} refused the request (HTTP status {status}): {_error_of(raw)}",
                _CODES.get(status, "INVALID_ARGUMENT"),
            )
        try:
            answer: dict[str, Any] = json.loads(raw)
        except ValueError as error:
            raise RequestError(f"{self.address} did not answer with JSON.", "INTERNAL") from error
        return answer

    def _exchange(self, method: str, path: str, body: bytes | None) -> tuple[int, bytes]:
        if not hasattr(self._kept, "connection"):
            self._kept.connection = self._connect(self._host, self._port, timeout=self._timeout)
        connection: http.client.HTTPConnection = self._kept.connection
        connection.request(method, path, body, {"Content-Type": "application/json"})
        response = connection.getresponse()
        return response.status, response.read()


def _error_of(raw: bytes) -> str:
    """Returns what the server says was wrong, in one line."""
    try:
        return str(json.loads(raw)["error"])[:1000]
    except (ValueError, KeyError, TypeError):
        return raw[:200].decode("utf-8", "replace")
