"""What clients do when a server is busy, slow, or not there."""

from __future__ import annotations

import http.server
import json
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tfrec_llm.errors import RequestError, UnavailableError, UsageError
from tfrec_llm.serving.client import GrpcClient, Query, RestClient
from tfrec_llm.serving.client.retries import NotThere, with_retries

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "export"))
import query_server

ITEMS = {"outputs": {"item_ids": [["a", ""]], "scores": [[0.5, -3.4028235e38]]}}
Answer = tuple[int, Any]


@pytest.fixture
def scripted() -> Iterator[Callable[[list[Answer]], tuple[str, list[Any]]]]:
    """A server that gives the answers of a list in turn, and keeps what it was asked."""
    servers = []

    def start(answers: list[Answer]) -> tuple[str, list[Any]]:
        asked: list[Any] = []

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                asked.append((self.path, json.loads(body)))
                status, answer = answers.pop(0)
                raw = answer if isinstance(answer, bytes) else json.dumps(answer).encode()
                self.send_response(status)
                self.send_header("Content-Length", str(len(raw)))
                self.end_headers()
                self.wfile.write(raw)
                self.close_connection = True  # though the client may hope for more

            def log_message(self, *_: Any) -> None:
                pass

        server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        servers.append(server)
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        return f"http://127.0.0.1:{server.server_port}", asked

    yield start
    for server in servers:
        server.shutdown()
        server.server_close()


def test_a_busy_server_is_asked_again_and_padding_is_left_out(scripted: Any) -> None:
    url, asked = scripted([(503, b"busy"), (200, ITEMS), (200, ITEMS)])
    client = RestClient(url, "my books", label="stable")
    assert client.recommend("x", ["i1"], k=2) == [("a", 0.5)]
    assert client.similar("i1") == [("a", 0.5)]
    path = "/v1/models/my%20books/labels/stable:predict"
    assert [sent for sent, _ in asked] == [path] * 3
    assert asked[0] == asked[1]
    assert asked[0][1]["inputs"] == {
        "user_text": ["x"],
        "history": [["i1"]],
        "exclude_ids": [[]],
        "k": 2,
    }


def test_a_refused_request_is_not_sent_again(scripted: Any) -> None:
    url, asked = scripted([(404, {"error": "no such model"})])
    with pytest.raises(RequestError, match="HTTP status 404.*no such model") as refused:
        RestClient(url, "books").recommend("x")
    assert refused.value.code == "NOT_FOUND"
    assert len(asked) == 1


def test_an_answer_that_is_no_json_is_an_error(scripted: Any) -> None:
    url, _ = scripted([(200, b"<html>")])
    with pytest.raises(RequestError, match="did not answer with JSON"):
        RestClient(url, "books").recommend("x")


def test_a_server_that_says_nothing_is_not_waited_for_longer_than_the_timeout() -> None:
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        address = f"127.0.0.1:{silent.getsockname()[1]}"
        with pytest.raises(UnavailableError, match=r"no answer within 0\.2 seconds"):
            RestClient(f"http://{address}", "books", timeout=0.2).recommend("x")


@pytest.mark.parametrize("kind", ["rest", "grpc"])
def test_a_server_that_is_not_there_is_told_of_after_the_last_try(kind: str) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{unused.getsockname()[1]}"
        client: Any = (
            RestClient(f"http://{address}", "books", retries=1)
            if kind == "rest"
            else GrpcClient(address, "books", retries=1)
        )
        with pytest.raises(UnavailableError, match="cannot be reached.*after 2 tries"):
            client.recommend("x")


def test_each_wait_is_about_twice_the_last() -> None:
    waits: list[float] = []

    def ask() -> None:
        raise NotThere("refused")

    with pytest.raises(UnavailableError, match="after 5 tries"):
        with_retries(ask, "server", 4, waits.append)
    assert len(waits) == 4
    for number, wait in enumerate(waits):
        assert 0.05 * 2**number <= wait <= 0.15 * 2**number


def test_neither_server_nor_clients_load_keras() -> None:
    code = """
import sys
import tfrec_llm.serving.client
assert "tensorflow" not in sys.modules
import tfrec_llm.serving.server.service
print(sorted({"keras", "keras_hub", "tfrec_llm.keras_api"} & set(sys.modules)))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


def test_wrong_arguments_are_usage_errors() -> None:
    with pytest.raises(UsageError, match="no URL of a server"):
        RestClient("localhost:8501", "books")
    with pytest.raises(UsageError, match="`history` must be a list of item ids"):
        Query(history="i1")


def test_the_script_prints_items_and_says_what_is_wrong(
    scripted: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    url, asked = scripted([(200, ITEMS), (200, ITEMS), (400, {"error": "k is 0"})])
    arguments = ["--rest", url, "--name", "books"]
    assert query_server.main([*arguments, "--text", "x", "--history", "i1,i2", "-k", "2"]) == 0
    assert capsys.readouterr().out == "0.5000  a\n"
    assert asked[0][1]["inputs"]["history"] == [["i1", "i2"]]
    assert query_server.main([*arguments, "--similar", "i1"]) == 0
    assert query_server.main([*arguments, "-k", "0"]) == 2
    assert "k is 0" in capsys.readouterr().err
