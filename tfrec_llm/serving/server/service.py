"""A model behind both APIs: start, keep up with the folder, drain, end."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import grpc
import uvicorn
from tensorflow_serving.apis import model_service_pb2_grpc, prediction_service_pb2_grpc

from tfrec_llm.errors import UsageError
from tfrec_llm.progress import Progress, Silent
from tfrec_llm.serving.server.batcher import Batcher
from tfrec_llm.serving.server.grpc_services import ModelService, PredictionService
from tfrec_llm.serving.server.metrics import Metrics
from tfrec_llm.serving.server.model_versions import ModelVersions
from tfrec_llm.serving.server.predictor import Predictor
from tfrec_llm.serving.server.rest import rest_app


@dataclass(frozen=True)
class Settings:
    """How a model is served.

    Attributes:
        host: address to listen on.
        rest_port: int; 0 for any free one.
        grpc_port: int; 0 for any free one.
        labels: version by label.
        poll_seconds: float > 0, between two looks at the folder.
        max_batch: int >= 1, the most rows that are answered together; 1 joins nothing.
        batch_timeout_seconds: float >= 0, how long a request waits for others.
        timeout_seconds: float > 0, how long a request, and the drain at the end, may take.
        max_body_bytes: int, longer requests are refused.
        threads: int >= 1, runs of the graph at the same time.
    """

    host: str = "127.0.0.1"
    rest_port: int = 8501
    grpc_port: int = 8500
    labels: Mapping[str, int] = field(default_factory=dict)
    poll_seconds: float = 2.0
    max_batch: int = 32
    batch_timeout_seconds: float = 0.0
    timeout_seconds: float = 30.0
    max_body_bytes: int = 16 << 20
    threads: int = field(default_factory=lambda: max(2, os.cpu_count() or 1))


class Service:
    """Serves one model over REST and gRPC until SIGTERM or SIGINT.

    Args:
        export: folder of versions, or of one version.
        name: of the model.
        settings: how.
        progress: is told of versions and faults.

    Raises: UsageError when there is no such export or label.
    """

    def __init__(
        self,
        export: str | Path,
        name: str,
        settings: Settings | None = None,
        progress: Progress | None = None,
    ) -> None:
        self._settings = settings or Settings()
        self._progress = progress or Silent()
        self._loop = asyncio.new_event_loop()
        self._socket = socket.socket()
        self._metrics = Metrics(name)
        self._versions = ModelVersions(
            export, name, self._settings.labels, self._progress, self._metrics.versions
        )

    def start(self) -> dict[str, Any]:
        """Takes the ports, loads the model, and begins to answer.

        Returns: `model`, `version`, and the addresses `rest` and `grpc`.

        Raises:
            UsageError: when a port is taken.
            TfrecLlmError: when the model cannot be loaded.
        """
        try:
            return self._loop.run_until_complete(self._start())
        except BaseException:
            self._socket.close()
            self._versions.close()
            self._loop.close()
            raise

    def run(self) -> None:
        """Answers until SIGTERM or SIGINT, then finishes what is under way.

        A second signal ends the wait for that.
        """
        self._loop.run_until_complete(self._run())
        self._loop.close()

    async def _start(self) -> dict[str, Any]:
        settings = self._settings
        self._socket = _listening(settings.host, settings.rest_port)
        self._executor = ThreadPoolExecutor(settings.threads, "graph")
        batcher = Batcher(
            self._executor,
            settings.threads,
            settings.max_batch,
            settings.batch_timeout_seconds,
            self._metrics.batch,
        )
        predictor = Predictor(self._versions, batcher, self._metrics, settings.timeout_seconds)
        self._grpc, grpc_port = self._grpc_server(predictor)
        await self._versions.start()
        await self._grpc.start()
        app = rest_app(predictor, settings.max_body_bytes, self._progress)
        self._rest = _Rest(
            uvicorn.Config(
                app,
                log_config=None,
                access_log=False,
                lifespan="off",
                timeout_graceful_shutdown=round(settings.timeout_seconds) or 1,
            )
        )
        host = f"[{settings.host}]" if ":" in settings.host else settings.host
        statuses = self._versions.statuses(self._versions.name)
        return {
            "model": self._versions.name,
            "version": max(statuses),
            "rest": f"http://{host}:{self._socket.getsockname()[1]}",
            "grpc": f"{host}:{grpc_port}",
        }

    async def _run(self) -> None:
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._stop)
        polling = asyncio.create_task(self._poll())
        await self._rest.serve(sockets=[self._socket])  # returns once it is drained
        polling.cancel()
        await self._grpc.stop(0 if self._rest.force_exit else self._settings.timeout_seconds)
        self._executor.shutdown(wait=not self._rest.force_exit, cancel_futures=True)
        self._versions.close()

    def _stop(self) -> None:
        self._rest.force_exit = self._rest.should_exit
        if not self._rest.should_exit:
            self._rest.should_exit = True
            self._progress.message("Accepting no more requests; finishing those under way.")
            # Both APIs stop accepting at the same time.
            grace = self._settings.timeout_seconds
            self._draining = self._loop.create_task(self._grpc.stop(grace))

    async def _poll(self) -> None:
        while True:
            await asyncio.sleep(self._settings.poll_seconds)
            try:
                await self._versions.poll()
            except Exception as error:  # a disk that is away for a moment must not end it
                self._progress.message(f"The folder of versions cannot be read: {error}")

    def _grpc_server(self, predictor: Predictor) -> tuple[Any, int]:
        settings = self._settings
        server = grpc.aio.server(
            options=[
                ("grpc.so_reuseport", 0),  # else a second server would share the port unseen
                ("grpc.max_receive_message_length", settings.max_body_bytes),
                ("grpc.max_send_message_length", -1),
            ]
        )
        prediction_service_pb2_grpc.add_PredictionServiceServicer_to_server(
            PredictionService(predictor, self._progress), server
        )
        model_service_pb2_grpc.add_ModelServiceServicer_to_server(
            ModelService(predictor, self._progress), server
        )
        host = f"[{settings.host}]" if ":" in settings.host else settings.host
        try:
            port = server.add_insecure_port(f"{host}:{settings.grpc_port}")
        except RuntimeError as error:
            raise _taken(settings.host, settings.grpc_port, "--grpc-port") from error
        return server, port


class _Rest(uvicorn.Server):
    """Leaves signals to the service: both APIs drain together, and the exit code is 0."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Captures none."""
        yield


def _listening(host: str, port: int) -> socket.socket:
    try:
        family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
        # Named as TCP, or asyncio leaves Nagle's algorithm on: 40 ms more for each answer on a
        # connection that stays open.
        listening = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind((host, port))
        listening.listen(1024)
        listening.setblocking(False)
    except OSError as error:
        raise _taken(host, port, "--rest-port") from error
    return listening


def _taken(host: str, port: int, option: str) -> UsageError:
    return UsageError(
        f"Port {port} of {host} cannot be listened on: it is in use, or the address is not one of "
        f"this machine. Choose another with {option}, or --host."
    )
