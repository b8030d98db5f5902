"""The load test of the benchmarks, in a short run on a real server."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "benchmarks"))
import serve_load


def rows(text: str) -> list[list[str]]:
    lines = [line for line in text.splitlines() if line.startswith("| ")]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]


def test_a_load_is_told_in_figures() -> None:
    load = serve_load.Load(2.0, [0.001] * 98 + [0.005, 0.005], ["lost"])
    assert serve_load.figures(load) == ("50", "1.0", "5.0", 1)
    assert serve_load.figures(serve_load.Load(1.0)) == ("0", "", "", 0)


@pytest.mark.slow
def test_no_request_is_lost_on_either_api_nor_when_a_version_is_added(
    exported: tuple[Any, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    if exported[0].near.any():
        pytest.skip("one kind of index is enough")
    export = str(exported[1].parent)
    serve_load.main([export, "--soak", "0.1", "--clients", "2"])
    head, _, (name, asked, errors, start, end) = rows(capsys.readouterr().out)
    assert head == ["export", "requests", "errors", "MiB at start", "MiB at end"]
    assert (name, errors) == ("export", "0")
    assert int(asked) > 0 and float(start) > 0 and float(end) > 0


@pytest.mark.slow
def test_the_table_has_a_row_for_each_way_to_ask(
    exported: tuple[Any, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    if exported[0].near.any():
        pytest.skip("one kind of index is enough")
    export = str(exported[1].parent)
    serve_load.main([export, "--seconds", "2", "--clients", "1", "3", "--batching", "on"])
    head, _, *measured = rows(capsys.readouterr().out)
    assert head == list(serve_load._COLUMNS)
    ways = [(api, "on", clients) for api in ("REST", "gRPC") for clients in "13"]
    assert [tuple(row[1:4]) for row in measured] == ways
    assert all(float(row[4]) >= 0 and row[7] == "0" for row in measured)
