"""Requests that wait at the same time are answered by one run of the graph."""

from __future__ import annotations

import asyncio
import functools
from collections import deque
from collections.abc import Callable, Hashable, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np

from tfrec_llm.serving.server.loaded_version import Arrays


class Runs(Protocol):
    """What a batcher asks: a `LoadedVersion`."""

    def run(self, signature: str, arrays: Arrays) -> Arrays:
        """Answers arrays with arrays that have a row for each row of the inputs."""


@dataclass
class _Waiting:
    arrays: Arrays
    rows: int
    since: float
    answer: asyncio.Future[Arrays]


@dataclass
class _Queue:
    waiting: deque[_Waiting] = field(default_factory=deque)
    running: int = 0
    timer: asyncio.TimerHandle | None = None


class Batcher:
    """Joins requests to the same signature, and to the same `k`, into batches.

    A request starts at once while one of the `slots` is free; those that come meanwhile wait for
    the next free slot and then go together. Lists of different widths are padded with
    "", times with 0.

    Args:
        executor: where the graph runs; threads, as TensorFlow lets go of Python's lock.
        slots: int >= 1, batches of one signature that run at the same time.
        max_rows: int >= 1, the most rows of a batch; a larger request goes alone, and with 1
            nothing is joined.
        timeout_seconds: float >= 0, how long the first request of a batch waits for others even
            while a slot is free.
        on_batch: called with the rows of each batch.
    """

    def __init__(
        self,
        executor: Executor,
        slots: int,
        max_rows: int = 32,
        timeout_seconds: float = 0.0,
        on_batch: Callable[[int], None] = lambda rows: None,
    ) -> None:
        self._executor = executor
        self._slots = slots
        self._max_rows = max_rows
        self._timeout = timeout_seconds
        self._on_batch = on_batch
        self._queues: dict[Hashable, _Queue] = {}

    async def ask(self, version: Runs, signature: str, arrays: Arrays, rows: int) -> Arrays:
        """Answers one request, alone or together with others.

        Args:
            version: asked for it.
            signature: the name.
            arrays: checked inputs; those with rows have `rows` of them.
            rows: int.

        Returns: the rows of this request alone.

        Raises: RequestError when the graph refuses this request, whatever others ask.
        """
        scalars = tuple(sorted((k, v.item()) for k, v in arrays.items() if not v.ndim))
        key = (id(version), signature, scalars)
        loop = asyncio.get_running_loop()
        one = _Waiting(arrays, rows, loop.time(), loop.create_future())
        self._queues.setdefault(key, _Queue()).waiting.append(one)
        self._start(key, version, signature)
        return await one.answer

    def _start(self, key: Hashable, version: Runs, signature: str) -> None:
        """Starts batches while there are requests and free slots."""
        queue = self._queues.get(key)
        if queue is None:
            return
        again = functools.partial(self._start, key, version, signature)
        loop = asyncio.get_running_loop()
        while queue.waiting and queue.running < self._slots:
            rest = queue.waiting[0].since + self._timeout - loop.time()
            if rest > 0 and sum(one.rows for one in queue.waiting) < self._max_rows:
                if queue.timer is None:
                    queue.timer = loop.call_later(rest, again)
                return
            if queue.timer is not None:
                queue.timer.cancel()
                queue.timer = None
            batch = self._take(queue)
            if not batch:
                break
            queue.running += 1
            run = loop.run_in_executor(self._executor, _answers, version, signature, batch)
            run.add_done_callback(functools.partial(self._ended, key, batch, again))
        if not queue.waiting and not queue.running:
            self._queues.pop(key, None)

    def _take(self, queue: _Queue) -> list[_Waiting]:
        """Takes requests from the front of the queue, leaving out those that nobody awaits."""
        batch: list[_Waiting] = []
        rows = 0
        while queue.waiting:
            one = queue.waiting[0]
            if one.answer.done():
                queue.waiting.popleft()
            elif batch and rows + one.rows > self._max_rows:
                break
            else:
                batch.append(queue.waiting.popleft())
                rows += one.rows
        if batch:
            self._on_batch(rows)
        return batch

    def _ended(
        self,
        key: Hashable,
        batch: list[_Waiting],
        again: Callable[[], None],
        run: asyncio.Future[list[Arrays | Exception]],
    ) -> None:
        self._queues[key].running -= 1
        failure = run.exception()
        answers = [failure] * len(batch) if failure else run.result()
        for one, answer in zip(batch, answers, strict=True):
            if one.answer.done():  # given up meanwhile
                continue
            if isinstance(answer, BaseException):
                one.answer.set_exception(answer)
            else:
                one.answer.set_result(answer)
        again()


def _answers(version: Runs, signature: str, batch: Sequence[_Waiting]) -> list[Arrays | Exception]:
    """Answers each request of a batch with arrays or an error of its own."""
    if len(batch) > 1:
        try:
            together = version.run(signature, join([one.arrays for one in batch]))
            return list(split(together, [one.rows for one in batch]))
        except Exception:
            pass  # one of them is at fault: each is asked alone
    answers: list[Arrays | Exception] = []
    for one in batch:
        try:
            answers.append(version.run(signature, one.arrays))
        except Exception as error:
            answers.append(error)
    return answers


def join(requests: Sequence[Arrays]) -> Arrays:
    """Puts the rows of requests under each other; lists are padded to the widest with "" or 0.

    Args:
        requests: arrays by input, `(rows,)` or `(rows, width)`, or a scalar that is the same in
            all.

    Example:
        >>> one = {"history": np.array([[b"a"]], object), "k": np.int32(3)}
        >>> two = {"history": np.array([[b"b", b"c"]], object), "k": np.int32(3)}
        >>> join([one, two])["history"].tolist()
        [[b'a', b''], [b'b', b'c']]
    """
    joined: Arrays = {}
    for name, first in requests[0].items():
        parts = [request[name] for request in requests]
        if first.ndim == 2:
            width = max(part.shape[1] for part in parts)
            parts = [_widened(part, width) for part in parts]
        joined[name] = np.concatenate(parts) if first.ndim else first
    return joined


def split(answer: Arrays, rows: Sequence[int]) -> list[Arrays]:
    """Gives each request its rows of the answer to all.

    Args:
        answer: arrays by output, with as many rows as `rows` adds up to.
        rows: int for each request.

    Example:
        >>> split({"scores": np.array([1.0, 2.0, 3.0])}, [1, 2])[1]["scores"].tolist()
        [2.0, 3.0]
    """
    ends = np.cumsum(rows)
    return [
        {name: array[end - count : end] for name, array in answer.items()}
        for end, count in zip(ends, rows, strict=True)
    ]


def _widened(array: np.ndarray, width: int) -> np.ndarray:
    if array.shape[1] == width:
        return array
    padding = b"" if array.dtype == object else 0
    wide = np.full((array.shape[0], width), padding, dtype=array.dtype)
    wide[:, : array.shape[1]] = array
    return wide
