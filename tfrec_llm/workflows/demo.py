"""The whole way on the bundled bookshop: pretrain, train, measure, export, ask."""

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
from tfrec_llm.data.catalogue import Catalogue
from tfrec_llm.data.schema import Dataset
from tfrec_llm.data.shards.streamed_interactions import as_frame
from tfrec_llm.data.splits import split
from tfrec_llm.errors import ExportError, UsageError
from tfrec_llm.progress import Progress, Silent
from tfrec_llm.workflows.build import read_dataset
from tfrec_llm.workflows.evaluate import evaluate
from tfrec_llm.workflows.export import export
from tfrec_llm.workflows.train import train

CONFIG = Path(__file__).with_name("demo.yaml")
_MARK = "demo.json"
# About half a minute of processor time; the held-out loss is least after some thirty epochs.
PRETRAINING: dict[str, Any] = {"epochs": 40, "batch_size": 64, "learning_rate": 0.002}


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
    DemoRequest(
        "a reader in Chinese: likes science fiction, just now The Three-Body Problem",
        ("--text", "喜欢阅读科幻小说，最近在追《三体》", "-k", "5"),
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
TEXTS_TO_CLEAN = (
    "喜欢阅读科幻小说，最近在追《三体》",
    "一本关于宇宙和科学探索的科幻小说",
    "一本关于人工智能的科幻小说",
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
    """Pretrains, trains, evaluates, exports and asks; an earlier demo in the folder is replaced.

    Args:
        folder: gets `encoder-zh`, `run` and `export`.
        progress: listener.

    Returns: `pretraining` (of pretraining.json), `metrics` (of metrics.json), `answers` (of
        `DemoAnswer`), `cleaned` (pairs of a text and what light cleaning makes of it),
        `encoder_zh`, `run`, `export`.

    Raises: UsageError when the folder holds something that is no demo.
    """
    progress = progress or Silent()
    folder = Path(folder)
    _make_room(folder)
    run, out, encoder_zh = folder / "run", folder / "export", folder / "encoder-zh"
    progress.message("1/5 pretrain a language model on the Chinese texts of the bookshop")
    pretraining = pretrain_chinese(encoder_zh, progress=progress)
    progress.message("2/5 train two towers on the bookshop")
    config = load_config(CONFIG, [f"encoder.preset_zh={json.dumps(str(encoder_zh.resolve()))}"])
    training = train(config, run, progress=progress)
    progress.message("3/5 measure them beside the baselines")
    metrics = evaluate(run, baselines=True, progress=progress)
    progress.message("4/5 export a SavedModel with a ScaNN index")
    exported = export(run, out, progress=progress)
    progress.message("5/5 ask it, in fresh processes")
    items = pl.read_parquet(run / "model" / "items.parquet")
    clicks = dict(items.select("item_id", "num_clicks").iter_rows())
    answers = [_ask(out, request, clicks) for request in REQUESTS]
    return {
        "pretraining": pretraining,
        "training": training,
        "metrics": metrics,
        "exported": exported,
        "answers": [dataclasses.asdict(answer) for answer in answers],
        "cleaned": _cleaned(),
        "encoder_zh": str(encoder_zh),
        "run": str(run),
        "export": str(out),
    }


def pretrain_chinese(folder: str | Path, *, progress: Progress | None = None) -> dict[str, Any]:
    """Pretrains a small BERT on the shop's own Chinese texts, as the demo does.

    These are the texts of all Chinese books, and what readers say of themselves whose reading is
    trained on; sentences of the readers kept for the test are not looked at.

    Args:
        folder: where the preset is written.
        progress: listener.

    Returns: the content of its `pretraining.json`.
    """
    from tfrec_llm.encoders.language_encoder import is_chinese
    from tfrec_llm.keras_api import tf
    from tfrec_llm.pretraining.pretrain import pretrain

    config = load_config(CONFIG)
    dataset = read_dataset(config.data)
    assert isinstance(dataset, Dataset)
    parts = split(
        dataset,
        Catalogue(dataset.items),
        protocol=config.split.protocol,
        cold_user_share=config.split.cold_user_share,
        seed=config.train.seed,
    )
    readers = dataset.users.filter(
        pl.col("user_id").is_in(as_frame(parts.train_and_validation)["user_id"].unique().implode())
    )
    texts = [*dataset.items["text"].to_list(), *readers["text"].to_list()]
    chinese = is_chinese(tf.constant(texts, tf.string)).numpy()
    return pretrain(
        [text for text, is_one in zip(texts, chinese, strict=True) if is_one],
        folder,
        max_tokens=config.text.max_tokens,
        seed=config.train.seed,
        progress=progress,
        **PRETRAINING,
    )


def _cleaned() -> list[list[str]]:
    from tfrec_llm.keras_api import tf
    from tfrec_llm.text import clean_text

    cleaned = clean_text(tf.constant(TEXTS_TO_CLEAN), level="light").numpy()
    return [[text, new.decode()] for text, new in zip(TEXTS_TO_CLEAN, cleaned, strict=True)]


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
