"""The whole way on the bundled bookshop: train, measure, export, ask."""

from __future__ import annotations

import dataclasses
import json
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl

from tfrec_llm.config.load import load_config
from tfrec_llm.errors import ExportError, UsageError
from tfrec_llm.progress import Progress, Silent
from tfrec_llm.workflows.evaluate import evaluate
from tfrec_llm.workflows.export import export
from tfrec_llm.workflows.train import train

CONFIG = Path(__file__).with_name("demo.yaml")
_MARK = "demo.json"


@dataclass(frozen=True)
class DemoRequest:
    """A question to the export.

    Attributes:
        what: what it shows, for a person.
        arguments: of `tfrec-llm recommend EXPORT`.
    """

    what: str
    arguments: tuple[str, ...]


REQUESTS = (
    DemoRequest(
        "a reader says what they like",
        ("--text", "I enjoy baking bread and cakes at home", "-k", "5"),
    ),
    DemoRequest(
        "a reader known by the books read so far",
        ("--history", "the-listening-dish,visitors-at-low-tide,the-quiet-probe", "-k", "5"),
    ),
    DemoRequest("a reader of whom nothing is known: the popular books", ("-k", "5")),
    DemoRequest(
        "a wish whose best answer is a book that nobody has read yet",
        (
            "--text",
            "a first contact novel in which an alien signal from another star is decoded",
            "-k",
            "5",
        ),
    ),
)


@dataclass(frozen=True)
class DemoAnswer:
    """A request and what the export answered in a fresh process.

    Attributes:
        what: what it shows.
        command: str, to type it again.
        items: dicts of `item_id`, `title`, `score` and `num_clicks`.
    """

    what: str
    command: str
    items: list[dict[str, Any]]


def demo(folder: str | Path, *, progress: Progress | None = None) -> dict[str, Any]:
    """Trains, evaluates, exports and asks; an earlier demo in the folder is replaced.

    Args:
        folder: gets `run` and `export`.
        progress: listener.

    Returns: `metrics` (of metrics.json), `answers` (of `DemoAnswer`), `run`, `export`.

    Raises: UsageError when the folder holds something that is no demo.
    """
    progress = progress or Silent()
    folder = Path(folder)
    _make_room(folder)
    run, out = folder / "run", folder / "export"
    progress.message("1/4 train two towers on the bookshop")
    training = train(load_config(CONFIG), run, progress=progress)
    progress.message("2/4 measure them beside the baselines")
    metrics = evaluate(run, baselines=True, progress=progress)
    progress.message("3/4 export a SavedModel with a ScaNN index")
    exported = export(run, out, progress=progress)
    progress.message("4/4 ask it, in fresh processes")
    items = pl.read_parquet(run / "model" / "items.parquet")
    clicks = dict(items.select("item_id", "num_clicks").iter_rows())
    answers = [_ask(out, request, clicks) for request in REQUESTS]
    return {
        "training": training,
        "metrics": metrics,
        "exported": exported,
        "answers": [dataclasses.asdict(answer) for answer in answers],
        "run": str(run),
        "export": str(out),
    }


def _make_room(folder: Path) -> None:
    if folder.exists() and not (folder / _MARK).is_file() and any(folder.iterdir()):
        raise UsageError(f"{folder} holds something that is no demo. Give another --out.")
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    (folder / _MARK).write_text("{}\n")


def _ask(export_folder: Path, request: DemoRequest, clicks: dict[str, int]) -> DemoAnswer:
    arguments = ["recommend", str(export_folder), *request.arguments]
    done = subprocess.run(
        [sys.executable, "-m", "tfrec_llm", *arguments, "--json"],
        capture_output=True,
        text=True,
        encoding="utf-8",
    )
    if done.returncode != 0:
        raise ExportError(f"The export did not answer: {done.stderr.strip()[-2000:]}")
    items = json.loads(done.stdout)["items"]
    shown = " ".join(f'"{part}"' if " " in part else part for part in ["tfrec-llm", *arguments])
    return DemoAnswer(
        request.what, shown, [{**item, "num_clicks": clicks[item["item_id"]]} for item in items]
    )
