from __future__ import annotations

import contextlib
import json
import os
import pty
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from tfrec_llm.cli import output

PRINT = "from tfrec_llm.cli import output; output.print_json({'title': '三体 é'})"


def test_json_is_one_object_that_keeps_numbers_and_paths(
    capsys: pytest.CaptureFixture[str],
) -> None:
    output.print_json({"score": np.float32(0.5), "ids": np.array([1, 2]), "path": Path("a/b")})
    assert json.loads(capsys.readouterr().out) == {"score": 0.5, "ids": [1, 2], "path": "a/b"}


def test_what_has_no_json_form_is_an_error() -> None:
    with pytest.raises(TypeError, match="object has no JSON form"):
        output.print_json({"a": object()})
    with pytest.raises(ValueError, match="JSON"):
        output.print_json({"a": float("nan")})


@pytest.mark.parametrize("encoding", ["utf-8", "ascii", "latin-1"])
def test_json_is_sound_whatever_the_terminals_encoding(encoding: str) -> None:
    done = subprocess.run(
        [sys.executable, "-c", PRINT],
        capture_output=True,
        check=True,
        env={**os.environ, "PYTHONIOENCODING": encoding},
    )
    assert json.loads(done.stdout.decode(encoding)) == {"title": "三体 é"}
    assert ("三体".encode() in done.stdout) == (encoding == "utf-8")


def test_items_stand_one_a_line_and_whole(capsys: pytest.CaptureFixture[str]) -> None:
    title = "A very long title " * 20
    output.print_items(
        [
            {"item_id": "dune", "title": title, "score": 0.98765},
            {"item_id": "b", "title": "", "score": -1.0},
        ]
    )
    first, second = capsys.readouterr().out.splitlines()
    assert first == f"  1  0.9877  dune\t{title}".rstrip()
    assert second == "  2  -1.0000  b"


def test_no_items_print_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    output.print_items([])
    assert capsys.readouterr().out == ""


def test_a_table_is_never_cut_where_stdout_is_no_terminal(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from rich.table import Table

    monkeypatch.setenv("COLUMNS", "20")
    table = Table()
    table.add_column("metric")
    table.add_row("x" * 120)
    output.print_rich(table)
    assert "x" * 120 in capsys.readouterr().out


def test_prints_of_libraries_do_not_reach_stdout(capsys: pytest.CaptureFixture[str]) -> None:
    with output.working() as progress:
        print("a library talks")
        progress.message("started")
    print("the result")
    captured = capsys.readouterr()
    assert captured.out == "the result\n"
    assert captured.err == "a library talks\nstarted\n"


def test_a_log_file_gets_a_line_for_each_tenth(capsys: pytest.CaptureFixture[str]) -> None:
    lines = output.SparseLines()
    for done in range(0, 1001):
        lines.advance("encode", done, 1000)
    lines.advance("nothing", 0, 0)
    told = capsys.readouterr().err.splitlines()
    assert len(told) == 12
    assert told[-2:] == ["encode: 1000 of 1000", "nothing: 0 of 0"]


def test_a_terminal_gets_live_bars() -> None:
    code = (
        "from tfrec_llm.cli import output\n"
        "with output.working() as progress:\n"
        "    progress.message('start [here]')\n"
        "    for done in range(4): progress.advance('encode', done, 3, '9 texts/s')\n"
        "print('result')"
    )
    ours, theirs = pty.openpty()
    done = subprocess.run(
        [sys.executable, "-c", code],
        stdout=subprocess.PIPE,
        stderr=theirs,
        check=True,
        env={**os.environ, "TERM": "xterm", "COLUMNS": "100"},
    )
    os.close(theirs)
    written = b""
    with open(ours, "rb", buffering=0) as terminal, contextlib.suppress(OSError):
        while block := terminal.read(65536):  # a part of it; after the last one an error
            written += block
    shown = written.decode()
    assert done.stdout == b"result\n"
    assert "start [here]" in shown and "\x1b[" in shown
    assert "3/3" in shown and "9 texts/s" in shown
