"""One request, from whatever API, to its answer."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from tfrec_llm.errors import RequestError
from tfrec_llm.serving.server.batcher import Batcher
from tfrec_llm.serving.server.checked_inputs import check_inputs
from tfrec_llm.serving.server.loaded_version import Arrays
from tfrec_llm.serving.server.metrics import Measured, Metrics
from tfrec_llm.serving.server.model_versions import ModelVersions
from tfrec_llm.serving.signatures import Tensor


@dataclass(frozen=True)
class Target:
    """Which model a request is for.

    Attributes:
        name: of the model.
        version: int, or None for the newest.
        label: of a version, instead of its number; "" for none.
    """

    name: str
    version: int | None = None
    label: str = ""


class Predictor:
    """Finds the version, checks the inputs, and waits for the batcher no longer than it may.

    Args:
        versions: of the model.
        batcher: runs the graph.
        metrics: counts.
        timeout_seconds: float, how long a request may take.
        max_waiting: int, requests that may be under way at the same time.
    """

    def __init__(
        self,
        versions: ModelVersions,
        batcher: Batcher,
        metrics: Metrics,
        timeout_seconds: float = 30.0,
        max_waiting: int = 1000,
    ) -> None:
        self.versions = versions
        self.metrics = metrics
        self.timeout_seconds = timeout_seconds
        self._batcher = batcher
        self._max_waiting = max_waiting
        self._waiting = 0

    async def ask(
        self,
        target: Target,
        signature: str,
        arrays_of: Callable[[Mapping[str, Tensor]], Arrays],
        measured: Measured,
        no_signature: str = "INVALID_ARGUMENT",
    ) -> tuple[int, Arrays]:
        """Answers a request.

        Args:
            target: which model and version.
            signature: its name.
            arrays_of: makes the arrays, given what the signature takes.
            measured: gets the signature once it is known.
            no_signature: the code of the error when there is no such signature.

        Returns: the version that answered, and an array for each output.

        Raises: RequestError, with a code of gRPC.
        """
        with self.versions.hold(target.name, target.version, target.label) as version:
            if signature not in version.inputs:
                raise RequestError(
                    f'Serving signature name: "{signature[:200]}" not found in signature def. '
                    f"There are: {', '.join(version.inputs)}.",
                    no_signature,
                )
            measured.signature = signature
            arrays = arrays_of(version.inputs[signature])
            rows = check_inputs(signature, version.inputs[signature], arrays)
            if self._waiting >= self._max_waiting:
                raise RequestError(
                    "The batch scheduling queue to which this task was submitted is full. Ask "
                    "again later, or start more servers.",
                    "UNAVAILABLE",
                )
            self._waiting += 1
            try:
                answer = await asyncio.wait_for(
                    self._batcher.ask(version, signature, arrays, rows), self.timeout_seconds
                )
            except (TimeoutError, asyncio.TimeoutError):
                raise RequestError(
                    f"There was no answer within {self.timeout_seconds:g} seconds.",
                    "DEADLINE_EXCEEDED",
                ) from None
            finally:
                self._waiting -= 1
            return version.number, answer
