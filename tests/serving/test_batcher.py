"""Batches: who goes with whom, and that everyone gets their own answer."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tfrec_llm.errors import RequestError
from tfrec_llm.serving.server.batcher import Batcher, join, split


class Model:
    """Answers each row with its own strings joined, and remembers the sizes of its batches."""

    def __init__(self) -> None:
        self.sizes: list[int] = []
        self.gate = threading.Event()
        self.gate.set()

    def run(self, signature: str, arrays: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        self.gate.wait(60)
        rows = arrays["history"].tolist()
        self.sizes.append(len(rows))
        if any(b"bad" in row for row in rows):
            raise RequestError("a bad item")
        joined = [b"".join(row) + str(arrays["k"]).encode() for row in rows]
        return {"item_ids": np.array(joined, object)}


@pytest.fixture
def threads() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(2) as executor:
        yield executor


def request(*rows: list[bytes], k: int = 1) -> dict[str, np.ndarray]:
    return {"history": np.array(rows, object), "k": np.array(k)}


async def asked(batcher: Batcher, model: Model, requests: list[Any]) -> list[Any]:
    """Lets a first request take the only slot, so that all others wait for it together."""
    model.gate.clear()
    first = asyncio.create_task(batcher.ask(model, "recommend", request([b"first"]), 1))
    await asyncio.sleep(0)
    rest = [
        asyncio.create_task(batcher.ask(model, "recommend", one, len(one["history"])))
        for one in requests
    ]
    await asyncio.sleep(0)
    model.gate.set()
    await first
    answers = await asyncio.gather(*rest, return_exceptions=True)
    return [a if isinstance(a, Exception) else a["item_ids"].tolist() for a in answers]


def test_requests_that_wait_go_together_and_get_their_own_rows(threads: Any) -> None:
    model, sizes = Model(), []
    batcher = Batcher(threads, slots=1, max_rows=4, on_batch=sizes.append)
    requests = [request([b"a"]), request([b"b", b"c"], [b"d", b"e"]), request([b"f"])]
    answers = asyncio.run(asked(batcher, model, requests))
    assert answers == [[b"a1"], [b"bc1", b"de1"], [b"f1"]]
    assert model.sizes == sizes == [1, 4]


def test_a_batch_is_no_larger_than_allowed_but_a_large_request_goes_alone(threads: Any) -> None:
    model = Model()
    batcher = Batcher(threads, slots=1, max_rows=2)
    requests = [request([b"a"]), request([b"b"], [b"c"], [b"d"]), request([b"e"]), request([b"f"])]
    answers = asyncio.run(asked(batcher, model, requests))
    assert answers == [[b"a1"], [b"b1", b"c1", b"d1"], [b"e1"], [b"f1"]]
    assert model.sizes == [1, 1, 3, 2]


def test_another_k_is_another_batch(threads: Any) -> None:
    model = Model()
    requests = [request([row], k=k) for row, k in ((b"a", 2), (b"b", 1), (b"c", 2), (b"d", 2))]
    answers = asyncio.run(asked(Batcher(threads, slots=1), model, requests))
    assert answers == [[b"a2"], [b"b1"], [b"c2"], [b"d2"]]
    assert sorted(model.sizes) == [1, 1, 1, 2]  # the first of each k finds a slot free


def test_one_bad_request_fails_alone(threads: Any) -> None:
    model = Model()
    requests = [request([b"a"]), request([b"bad"]), request([b"c"])]
    first, bad, last = asyncio.run(asked(Batcher(threads, slots=1), model, requests))
    assert (first, last) == ([b"a1"], [b"c1"])
    assert isinstance(bad, RequestError)


def test_a_request_that_is_given_up_is_not_run(threads: Any) -> None:
    model = Model()
    batcher = Batcher(threads, slots=1)

    async def check() -> None:
        model.gate.clear()
        first = asyncio.create_task(batcher.ask(model, "recommend", request([b"first"]), 1))
        await asyncio.sleep(0)
        given_up = asyncio.create_task(batcher.ask(model, "recommend", request([b"a"]), 1))
        await asyncio.sleep(0)
        given_up.cancel()
        await asyncio.sleep(0)
        model.gate.set()
        await first
        await batcher.ask(model, "recommend", request([b"b"]), 1)

    asyncio.run(check())
    assert model.sizes == [1, 1]


def test_with_a_timeout_the_first_waits_until_the_batch_is_full_or_time_is_up(
    threads: Any,
) -> None:
    model = Model()

    async def together(count: int, seconds: float) -> None:
        batcher = Batcher(threads, slots=1, max_rows=3, timeout_seconds=seconds)
        await asyncio.gather(
            *(batcher.ask(model, "recommend", request([b"a"]), 1) for _ in range(count))
        )

    asyncio.run(together(3, 3600.0))
    asyncio.run(together(2, 0.3))
    assert model.sizes == [3, 2]


@given(st.lists(st.lists(st.lists(st.binary(max_size=3), min_size=2, max_size=2)), min_size=1))
def test_what_was_joined_is_split_as_it_was(requests: list[list[list[bytes]]]) -> None:
    arrays = [
        {"history": np.array(rows, object).reshape(len(rows), 2), "k": np.array(3)}
        for rows in requests
    ]
    joined = join(arrays)
    assert joined["k"] == 3
    parts = split({"history": joined["history"]}, [len(rows) for rows in requests])
    assert [part["history"].tolist() for part in parts] == requests
