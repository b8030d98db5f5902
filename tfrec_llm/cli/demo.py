"""`tfrec-llm demo`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from tfrec_llm.cli import output
from tfrec_llm.cli.options import Debug, Json


def demo(
    out: Annotated[
        Path, typer.Option("--out", metavar="FOLDER", help="Folder of the run and its export.")
    ] = Path("runs/demo"),
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """Go the whole way on a small bookshop.

    Pretrains an encoder for its Chinese texts, trains, measures, exports and recommends; needs no
    data and no network.
    """
    with output.working() as progress:
        from tfrec_llm.workflows.demo import demo as run_demo

        summary = run_demo(out, progress=progress)
    if as_json:
        output.print_json(summary)
    else:
        _show(summary)


def _show(summary: dict[str, Any]) -> None:
    from tfrec_llm.evaluation.report_table import metrics_tables

    output.print_rich(metrics_tables(summary["metrics"]))
    for answer in summary["answers"]:
        output.print_lines("", f"{answer['what']}", f"$ {answer['command']}")
        output.print_items(
            [
                {**item, "title": item["title"] + _unread(item["num_clicks"])}
                for item in answer["items"]
            ]
        )
    output.print_lines("", "Texts cleaned as text: {clean: light} does it:")
    output.print_lines(*(f"  {text} → {cleaned}" for text, cleaned in summary["cleaned"]))
    run, export = summary["run"], summary["export"]
    seconds = summary["training"]["total_seconds"]
    output.print_lines(
        "",
        f"Trained in {seconds:.0f} s. What was made:",
        f"  {run}/metrics.json   the figures above and more; for people: report.html beside it",
        f"  {summary['encoder_zh']}         the language model of the Chinese texts",
        f"  {run}/model          the trained towers and their encoder",
        f"  {export}/1         the SavedModel, for TensorFlow Serving",
        "Next:",
        f'  .venv/bin/tfrec-llm recommend {export} --text "a murder in a quiet village"',
        f"  .venv/bin/tfrec-llm similar {export} signal-from-tau",
        "  .venv/bin/tfrec-llm train your-config.yaml --out runs/mine   (see README.md)",
    )


def _unread(num_clicks: int) -> str:
    return "   (nobody has read it yet)" if num_clicks == 0 else ""
