"""What a server tells Prometheus."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest

from tfrec_llm.errors import RequestError
from tfrec_llm.serving.server.model_versions import State, Status

CONTENT_TYPE = CONTENT_TYPE_LATEST
_SECONDS = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0)
_ROWS = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024)


@dataclass
class Measured:
    """One request while it is answered.

    Attributes:
        signature: str, set once it is known to exist; "" before.
    """

    signature: str = ""


class Metrics:
    """Counts requests, seconds, batches and versions.

    Args:
        model: name of the model.

    Example:
        >>> metrics = Metrics("books")
        >>> with metrics.request("REST") as measured:
        ...     measured.signature = "recommend"
        >>> [line for line in metrics.text().decode().splitlines() if "requests_total{" in line]
        ['tfrec_llm_requests_total{api="REST",code="OK",model="books",signature="recommend"} 1.0']
    """

    def __init__(self, model: str) -> None:
        self._model = model
        self._registry = CollectorRegistry()
        self._requests = Counter(
            "tfrec_llm_requests",
            "Requests that were answered or refused, by their gRPC status.",
            ["model", "api", "signature", "code"],
            registry=self._registry,
        )
        self._seconds = Histogram(
            "tfrec_llm_request_seconds",
            "Seconds from the last byte of a request to its answer.",
            ["model", "api", "signature"],
            buckets=_SECONDS,
            registry=self._registry,
        )
        self._rows = Histogram(
            "tfrec_llm_batch_rows",
            "Rows of each run of the graph.",
            ["model"],
            buckets=_ROWS,
            registry=self._registry,
        )
        self._versions = Gauge(
            "tfrec_llm_version_available",
            "1 for a version that is loaded and answers, else 0.",
            ["model", "version"],
            registry=self._registry,
        )

    @contextlib.contextmanager
    def request(self, api: str) -> Iterator[Measured]:
        """Measures the block, and counts it by the error that leaves it.

        Args:
            api: `REST` or `gRPC`.
        """
        measured, begin, code = Measured(), time.perf_counter(), "INTERNAL"
        try:
            yield measured
            code = "OK"
        except RequestError as error:
            code = error.code
            raise
        except asyncio.CancelledError:
            code = "CANCELLED"
            raise
        finally:
            labels = (self._model, api, measured.signature)
            self._requests.labels(*labels, code).inc()
            self._seconds.labels(*labels).observe(time.perf_counter() - begin)

    def batch(self, rows: int) -> None:
        """Counts a run of the graph."""
        self._rows.labels(self._model).observe(rows)

    def versions(self, statuses: Mapping[int, Status]) -> None:
        """Takes the state of every version."""
        for number, status in statuses.items():
            available = status.state is State.AVAILABLE
            self._versions.labels(self._model, str(number)).set(available)

    def text(self) -> bytes:
        """Returns all of it in Prometheus's text format."""
        return generate_latest(self._registry)
