"""New versions, broken ones, and the end of a server, while requests come in."""

from __future__ import annotations

import asyncio
import contextlib
import http.client
import json
import os
import shutil
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tfrec_llm.errors import MissingPackageError, RequestError, UsageError
from tfrec_llm.serving.client import GrpcClient, RestClient
from tfrec_llm.serving.server.model_versions import ModelVersions
from tfrec_llm.serving.server.service import _listening
from tfrec_llm.workflows import serve as serving

REQUEST = {"instances": [{"user_text": "sand", "history": ["i1", "i2"]}]}


@pytest.fixture
def copied(exported: tuple[Any, Path], tmp_path: Path) -> Path:
    shutil.copytree(exported[1], tmp_path / "books" / "1")
    return tmp_path / "books"


def add_version(export: Path, number: int) -> None:
    """Puts a copy of version 1 there by one rename."""
    copy = Path(shutil.copytree(export / "1", export.parent / f"new-{number}"))
    copy.rename(export / str(number))


def wait_for(condition: Callable[[], Any]) -> None:
    for _ in range(6000):
        if condition():
            return
        time.sleep(0.05)
    raise AssertionError("it never came true")


@contextlib.contextmanager
def load_of(ask: Callable[[], Any]) -> Iterator[list[Any]]:
    """Asks again and again in two threads, and collects what comes or goes wrong."""
    results: list[Any] = []
    stop = threading.Event()

    def work() -> None:
        while not stop.is_set():
            try:
                results.append(ask())
            except Exception as error:
                results.append(error)

    threads = [threading.Thread(target=work) for _ in range(2)]
    for thread in threads:
        thread.start()
    try:
        yield results
    finally:
        stop.set()
        for thread in threads:
            thread.join()


@pytest.mark.slow
def test_versions_change_under_load_a_broken_one_does_not_and_sigterm_drains(
    exported: tuple[Any, Path], copied: Path, serve: Callable[..., Any]
) -> None:
    world = exported[0]
    if world.near.any():
        pytest.skip("one kind of index is enough")
    server = serve(copied, "--poll-seconds", "0.1", "--no-batching")
    assert server.name == "books"
    expected = world.expected("sand", ["i1", "i2"], [], 5)[0]
    client = RestClient(server.rest, "books", retries=0)
    over_grpc = GrpcClient(server.grpc, "books", retries=0)

    def states() -> dict[str, str]:
        told = client.status()["model_version_status"]
        return {entry["version"]: entry["state"] for entry in told}

    def ask() -> list[str]:
        client.recommend("sand", ["i1", "i2"], k=5)
        return [item_id for item_id, _ in over_grpc.recommend("sand", ["i1", "i2"], k=5)]

    with load_of(ask) as results:
        add_version(copied, 2)
        wait_for(lambda: states() == {"2": "AVAILABLE", "1": "END"})
        broken = copied.parent / "broken"
        shutil.copytree(copied / "1", broken)
        (broken / "saved_model.pb").write_bytes(b"cut")
        broken.rename(copied / "3")
        wait_for(lambda: states().get("3") == "END")
        seen = len(results)
        wait_for(lambda: len(results) > seen + 4)
    assert results and all(found == expected for found in results), results[-1]
    assert states() == {"3": "END", "2": "AVAILABLE", "1": "END"}
    newest = client.status()["model_version_status"][0]["status"]
    assert newest["error_code"] == "UNKNOWN"
    assert "saved_model.pb was changed or cut" in newest["error_message"]
    assert server.predict(REQUEST, "/versions/3")[0] == 404

    # Half a request is there when the signal comes; it is still answered.
    host, port = server.rest.removeprefix("http://").split(":")
    body = json.dumps(REQUEST).encode()
    begun = http.client.HTTPConnection(host, int(port), timeout=120)
    begun.putrequest("POST", "/v1/models/books:predict")
    begun.putheader("Content-Length", str(len(body)))
    begun.endheaders()
    begun.send(body[:10])
    server.predict(REQUEST)  # so the server has met the connection before
    server.process.send_signal(signal.SIGTERM)

    def is_closed() -> bool:
        with socket.socket() as attempt:
            return attempt.connect_ex((host, int(port))) != 0

    wait_for(is_closed)
    assert server.process.poll() is None
    begun.send(body[10:])
    answer = begun.getresponse()
    assert answer.status == 200
    assert json.loads(answer.read())["predictions"][0]["item_ids"][:5] == expected
    assert server.process.wait(120) == 0


class Said:
    def __init__(self) -> None:
        self.lines: list[str] = []

    def message(self, text: str) -> None:
        self.lines.append(text)

    def advance(self, task: str, done: int, total: int, note: str = "") -> None:
        raise AssertionError("no bars here")


@pytest.mark.slow
def test_labels_keep_versions_and_requests_keep_what_they_hold(copied: Path) -> None:
    add_version(copied, 2)
    said = Said()

    async def check() -> None:
        versions = ModelVersions(copied, "books", {"stable": 1}, said)
        await versions.start()
        with versions.hold("books", label="stable") as stable, versions.hold("books") as newest:
            assert (stable.number, newest.number) == (1, 2)
            add_version(copied, 3)
            polling = asyncio.create_task(versions.poll())
            while not any("Version 3" in line for line in said.lines):
                await asyncio.sleep(0.01)
            states = {n: s.state.name for n, s in versions.statuses("books").items()}
            assert states == {3: "AVAILABLE", 2: "UNLOADING", 1: "AVAILABLE"}
            with pytest.raises(RequestError, match=r"Specific\(books, 2\)"):
                versions.hold("books", 2).__enter__()
            assert not polling.done()
        await polling
        assert versions.statuses("books")[2].state.name == "END"
        for number in (1, 2, 3):
            shutil.rmtree(copied / str(number))
        await versions.poll()
        with versions.hold("books") as kept:
            assert kept.number == 3
        assert "holds no version any more" in said.lines[-1]
        versions.close()

    asyncio.run(check())


@pytest.mark.slow
def test_a_broken_version_is_tried_again_when_it_changes(copied: Path) -> None:
    said = Said()

    async def check() -> None:
        versions = ModelVersions(copied, "books", progress=said)
        await versions.start()
        add_version(copied, 2)
        model = copied / "2" / "saved_model.pb"
        whole = model.read_bytes()
        model.write_bytes(b"cut")
        await versions.poll()
        lines = list(said.lines)
        assert "Version 2 cannot be loaded; version 1 goes on serving" in lines[-1]
        await versions.poll()
        assert said.lines == lines  # said once
        model.write_bytes(whole)
        os.utime(model, ns=(1, 1))
        await versions.poll()
        states = {n: s.state.name for n, s in versions.statuses("books").items()}
        assert states == {2: "AVAILABLE", 1: "END"}
        versions.close()

    asyncio.run(check())


def test_what_cannot_be_served_is_told_before_anything_is_loaded(
    exported: tuple[Any, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    export = exported[1].parent
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(UsageError, match=f"Port {port} of 127.0.0.1 .*--rest-port"):
            serving.serve(export, rest_port=port, grpc_port=0)
        with pytest.raises(UsageError, match=f"Port {port} of 127.0.0.1 .*--grpc-port"):
            serving.serve(export, rest_port=0, grpc_port=port)
    with pytest.raises(UsageError, match="label 'stable' is for version 4, but .* holds 1"):
        serving.serve(export, labels=["stable=4"])
    with pytest.raises(UsageError, match="is not LABEL=VERSION"):
        serving.serve(export, labels=["stable"])
    with pytest.raises(UsageError, match="cannot be named 'a/b'"):
        serving.serve(export, name="a/b")
    monkeypatch.setattr(serving.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(MissingPackageError, match=r"starlette.*tfrec_llm\[serve\]"):
        serving.serve(export)


def test_answers_do_not_wait_for_what_came_before_to_be_acknowledged() -> None:
    with _listening("127.0.0.1", 0) as listening:
        with socket.create_connection(listening.getsockname()[:2]):
            accepted, _ = listening.accept()
            with accepted:
                assert accepted.proto == socket.IPPROTO_TCP, "what asyncio looks at"
