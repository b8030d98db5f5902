"""`tfrec-llm check`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from tfrec_llm.cli import output
from tfrec_llm.cli.options import Debug, Json

_MARKS = {True: "ok", False: "NO", None: "-"}


def check(
    export: Annotated[Path, typer.Argument(metavar="EXPORT", help="Folder `export` wrote.")],
    native: Annotated[
        bool,
        typer.Option(
            "--native", help="Load it in a C++ program too, where a compiler can build one."
        ),
    ] = False,
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """Say whether an export can be served, where, and what is missing.

    Files, ops, processor and versions are looked at; the export is loaded in a fresh process, as
    TensorFlow Serving does, and asked. Exit code 0: deploy it. 1: do not. 2: no such export.
    """
    with output.working() as progress:
        from tfrec_llm.workflows.check import check as examine

        report = examine(export, native=native, progress=progress)
    if as_json:
        output.print_json(report)
    else:
        _print(report)
    if not report["ok"]:
        raise typer.Exit(1)


def _print(report: dict[str, Any]) -> None:
    from rich.table import Table
    from rich.text import Text

    sizes = ", ".join(f"{part} {_megabytes(size)}" for part, size in report["sizes"].items())
    output.print_lines(report["export"])
    for name, value in report["facts"].items():
        output.print_lines(f"  {name}: {_plain(value)}")
    output.print_lines(f"  size: {sizes}", "")
    table = Table(box=None, show_header=False, pad_edge=False)
    for entry in report["checks"]:
        colour = {True: "green", False: "bold red", None: "dim"}[entry["ok"]]
        table.add_row(
            Text(_MARKS[entry["ok"]], style=colour), Text(entry["name"]), Text(entry["detail"])
        )
    output.print_rich(table)
    output.print_lines("", _verdict(report))


def _verdict(report: dict[str, Any]) -> str:
    if report["deployable"]["stock"]:
        return "Deploy it: stock TensorFlow Serving of the same release can serve it."
    if report["deployable"]["with_scann"]:
        return (
            "Deploy it on a TensorFlow Serving built with ScaNN's ops: the stock one cannot serve "
            "it."
        )
    failed = [entry["name"] for entry in report["checks"] if entry["ok"] is False]
    return f"Do not deploy it: see {', '.join(failed)}."


def _plain(value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{name} {inner}" for name, inner in value.items())
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value)


def _megabytes(count: int) -> str:
    return f"{count / 1e6:.1f} MB"
