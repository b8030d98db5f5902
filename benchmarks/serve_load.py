"""Load on `tfrec-llm serve`: requests a second and latency, over REST and gRPC.

Clients and server share this machine, so the figures are those of a small one under full load:
compare them with each other, and measure on the machine that shall serve.

    python benchmarks/serve_load.py                        the bookshop, both kinds of index
    python benchmarks/serve_load.py exports/books --seconds 10
    python benchmarks/serve_load.py exports/books --soak 30

A soak also puts a copy of the newest version beside it halfway, and counts what went wrong.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import polars as pl
from tensorflow_serving.apis import predict_pb2, prediction_service_pb2_grpc

from tfrec_llm.keras_api import tf
from tfrec_llm.seeds import child_generator
from tfrec_llm.serving.client import RestClient
from tfrec_llm.serving.versions import version_folder, versions

NAME = "recommender"
_NUM_REQUESTS = 256  # different ones, asked in turn
_COLUMNS = ("export", "API", "batching", "clients", "requests/s", "p50 ms", "p99 ms", "errors")

Ask = Callable[[int], Awaitable[None]]


@dataclass
class Load:
    """What clients met: a latency in seconds for each answer, and what went wrong."""

    seconds: float = 0.0
    latencies: list[float] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Server:
    """A running server, and where it listens."""

    process: subprocess.Popen[str]
    rest: str
    grpc: str


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("exports", nargs="*", type=Path, help="default: the bookshop, made here")
    parser.add_argument("--seconds", type=float, default=5.0, help="for each row of the table")
    parser.add_argument("--clients", type=int, nargs="*", default=[1, 8, 32])
    parser.add_argument("--batching", nargs="*", choices=["on", "off"], default=["on", "off"])
    parser.add_argument("--history", type=int, default=10, help="items of a history at most")
    parser.add_argument("--no-text", action="store_true", help="histories alone, nothing to encode")
    parser.add_argument("--soak", type=float, metavar="MINUTES", help="one long run instead")
    parser.add_argument("--seed", type=int, default=7)
    given = parser.parse_args(arguments)
    with contextlib.ExitStack() as stack:
        exports = {path.name: path for path in given.exports} or bookshop_exports(
            Path(stack.enter_context(tempfile.TemporaryDirectory()))
        )
        requests = {
            name: make_requests(path, given.history, not given.no_text, given.seed)
            for name, path in exports.items()
        }
        if given.soak is not None:
            for name, path in exports.items():
                soak(name, path, requests[name], given.soak * 60, max(given.clients))
            return
        print_row(_COLUMNS)
        print_row("---" if n < 3 else "---:" for n in range(len(_COLUMNS)))
        for name, path in exports.items():
            for batching in given.batching:
                option = "--batching" if batching == "on" else "--no-batching"
                with running(path, option) as server:
                    for api in ("REST", "gRPC"):
                        for clients in given.clients:
                            load = measure(server, api, requests[name], clients, given.seconds)
                            print_row((name, api, batching, clients, *figures(load)))


def bookshop_exports(folder: Path) -> dict[str, Path]:
    """Trains on the bundled bookshop, for speed and not for quality, and exports it twice."""
    from tfrec_llm.config.load import load_config
    from tfrec_llm.workflows.demo import CONFIG
    from tfrec_llm.workflows.export import export
    from tfrec_llm.workflows.train import train

    train(load_config(CONFIG, ["train.epochs=1"]), folder / "run")
    exports = {kind: folder / kind for kind in ("brute_force", "scann")}
    for kind, out in exports.items():
        export(folder / "run", out, index=kind)
    return exports


def make_requests(
    export: Path, history: int, with_text: bool, seed: int
) -> list[dict[str, list[Any]]]:
    """Draws users: items of the corpus as histories, titles of other items as texts."""
    draw = child_generator(seed, "requests")
    columns = ["item_id", "title"]
    items = pl.read_parquet(version_folder(export) / "assets.extra/items.parquet", columns=columns)
    ids, titles = items["item_id"].to_list(), items["title"].to_list()
    requests = []
    for _ in range(_NUM_REQUESTS):
        width = int(draw.integers(1, history + 1))
        taken = [ids[n] for n in draw.integers(0, len(ids), width)]
        text = titles[int(draw.integers(0, len(ids)))] if with_text else ""
        requests.append({"user_text": [text], "history": [taken]})
    return requests


@contextlib.contextmanager
def running(export: Path, *options: str) -> Iterator[Server]:
    """Starts a server, and ends it as an operator would: it must drain and exit with 0."""
    command = [sys.executable, "-m", "tfrec_llm", "serve", str(export), "--name", NAME, "--json"]
    process = subprocess.Popen(
        [*command, "--rest-port", "0", "--grpc-port", "0", "--poll-seconds", "0.5", *options],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "CUDA_VISIBLE_DEVICES": "-1"},
    )
    assert process.stdout is not None
    try:
        told = json.loads("".join(iter(process.stdout.readline, "}\n")) + "}")
        yield Server(process, told["rest"].removeprefix("http://"), told["grpc"])
        process.terminate()
        if process.wait(120):
            raise SystemExit(f"The server ended with exit code {process.returncode}.")
    finally:
        process.kill()


def measure(server: Server, api: str, requests: list[Any], clients: int, seconds: float) -> Load:
    """Lets clients ask one request after the other, each as soon as it has its answer.

    Args:
        server: which.
        api: `REST` or `gRPC`.
        requests: `user_text` and `history` each.
        clients: int, connections.
        seconds: float, after a tenth of it that is not counted.
    """
    return asyncio.run(_measure(server, api, requests, clients, seconds))


async def _measure(
    server: Server,
    api: str,
    requests: list[Any],
    clients: int,
    seconds: float,
    meanwhile: asyncio.Task[None] | None = None,
) -> Load:
    load = Load()
    begin = time.perf_counter() + seconds / 10
    end = begin + seconds

    async def client(number: int) -> None:
        async with (_rest if api == "REST" else _grpc)(server, requests) as ask:
            while time.perf_counter() < end or not (meanwhile is None or meanwhile.done()):
                start = time.perf_counter()
                try:
                    await ask(number)
                except Exception as error:
                    load.errors.append(f"{type(error).__name__}: {error}")
                    await asyncio.sleep(0.01)
                else:
                    if start >= begin:
                        load.latencies.append(time.perf_counter() - start)
                number += clients

    await asyncio.gather(*(client(number) for number in range(clients)))
    load.seconds = time.perf_counter() - begin
    return load


@contextlib.asynccontextmanager
async def _rest(server: Server, requests: list[Any]) -> Any:
    """Yields a function that sends one request over a connection that stays open."""
    host, port = server.rest.rsplit(":", 1)
    bodies = [json.dumps({"inputs": request}).encode() for request in requests]
    head = f"POST /v1/models/{NAME}:predict HTTP/1.1\r\nHost: {host}\r\nContent-Length: "
    reader, writer = await asyncio.open_connection(host, int(port))

    async def ask(number: int) -> None:
        body = bodies[number % len(bodies)]
        writer.write(f"{head}{len(body)}\r\n\r\n".encode() + body)
        answer = await reader.readuntil(b"\r\n\r\n")
        lengths = [n for n in answer.lower().split(b"\r\n") if n.startswith(b"content-length:")]
        outputs = json.loads(await reader.readexactly(int(lengths[0].split(b":")[1])))
        _check(outputs["outputs"]["item_ids"] if b" 200 " in answer[:20] else outputs)

    try:
        yield ask
    finally:
        writer.close()


@contextlib.asynccontextmanager
async def _grpc(server: Server, requests: list[Any]) -> Any:
    """Yields a function that sends one request over a channel of its own."""
    protos = []
    for request in requests:
        proto = predict_pb2.PredictRequest()
        proto.model_spec.name = NAME
        for name, value in request.items():
            proto.inputs[name].CopyFrom(tf.make_tensor_proto(value))
        protos.append(proto)
    options = [("grpc.use_local_subchannel_pool", 1)]  # else all clients share one connection
    async with grpc.aio.insecure_channel(server.grpc, options=options) as channel:
        stub = prediction_service_pb2_grpc.PredictionServiceStub(channel)

        async def ask(number: int) -> None:
            answer = await stub.Predict(protos[number % len(protos)], timeout=60)
            _check([answer.outputs["item_ids"].string_val])

        yield ask


def _check(item_ids: Any) -> None:
    if not (isinstance(item_ids, list) and len(item_ids) == 1 and item_ids[0][0]):
        raise ValueError(f"no items in the answer: {str(item_ids)[:200]}")


def soak(name: str, export: Path, requests: list[Any], seconds: float, clients: int) -> None:
    """Asks for long, with a new version halfway, and tells errors and the server's memory."""
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch) / "export"
        newest = versions(export)[-1] if versions(export) else 1
        shutil.copytree(version_folder(export), folder / str(newest))
        with running(folder, "--batching") as server:
            load = [measure(server, "REST", requests, clients, seconds / 10)]  # all is warm then
            start = memory_mib(server.process.pid)

            async def both() -> list[Load]:
                swap = asyncio.create_task(asyncio.to_thread(add_version, server, folder, newest))
                loads = await asyncio.gather(
                    _measure(server, "REST", requests, clients, seconds / 2, swap),
                    _measure(server, "gRPC", requests, clients, seconds / 2, swap),
                )
                await swap
                return loads

            load += asyncio.run(both())
            load.append(measure(server, "REST", requests, clients, seconds / 2))
            end = memory_mib(server.process.pid)
        errors = [error for part in load for error in part.errors]
        print_row(("export", "requests", "errors", "MiB at start", "MiB at end"))
        print_row(("---", "---:", "---:", "---:", "---:"))
        asked = sum(len(part.latencies) for part in load)
        print_row((name, asked, len(errors), f"{start:.0f}", f"{end:.0f}"))
        for error in sorted(set(errors))[:5]:
            print(f"\n{error}", file=sys.stderr)


def add_version(server: Server, folder: Path, number: int) -> None:
    """Puts a copy of a version there as the next one, and waits until it has taken over."""
    copy = Path(shutil.copytree(folder / str(number), folder.parent / "new"))
    copy.rename(folder / str(number + 1))
    client = RestClient(f"http://{server.rest}", NAME, timeout=60)
    states: dict[str, str] = {}
    while states.get(str(number)) != "END":
        time.sleep(0.2)
        told = client.status()["model_version_status"]
        states = {entry["version"]: entry["state"] for entry in told}
        if states.get(str(number + 1)) == "END":
            raise SystemExit(f"The copy of version {number} could not be loaded: {told}")


def memory_mib(process: int) -> float:
    """Returns the resident memory of a process in MiB."""
    pages = int(Path(f"/proc/{process}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20


def figures(load: Load) -> tuple[str, str, str, int]:
    """Returns requests a second, the median and the 99th percentile in ms, and errors."""
    rate = f"{len(load.latencies) / load.seconds:.0f}"
    if not load.latencies:
        return rate, "", "", len(load.errors)
    p50, p99 = np.percentile(load.latencies, [50, 99]) * 1000
    return rate, f"{p50:.1f}", f"{p99:.1f}", len(load.errors)


def print_row(cells: Any) -> None:
    print("| " + " | ".join(map(str, cells)) + " |", flush=True)


if __name__ == "__main__":
    main()
