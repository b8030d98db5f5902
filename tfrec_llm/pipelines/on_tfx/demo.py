"""The pipeline on the bundled bookshop: once as it is, once with data that went wrong.

python -m tfrec_llm.pipelines.on_tfx.demo --out runs/tfx-demo --served-by .venv/bin/python
"""

from __future__ import annotations

import argparse
import json
import logging
import shutil
import subprocess
import sys
from importlib import resources
from pathlib import Path
from typing import Any

import polars as pl

from tfrec_llm.config.load import load_config
from tfrec_llm.errors import ExportError, TfrecLlmError, UsageError
from tfrec_llm.pipelines.blessing_rules import BlessingRules
from tfrec_llm.pipelines.example_tables import TABLES
from tfrec_llm.pipelines.on_tfx.pipeline import create_pipeline, run_pipeline

CONFIG = Path(__file__).with_name("demo.yaml")
RULES = BlessingRules(
    at_least={"all/recall@10": 0.1},
    over_popularity={"all/recall@10": 0.2, "all/ndcg@10": 0.2},
)
REQUESTS = (
    ("--text", "I enjoy baking bread and cakes at home"),
    ("--history", "the-listening-dish,visitors-at-low-tide,the-quiet-probe"),
    (),
)
_MARK = "tfx-demo.json"


def main(arguments: list[str] | None = None) -> int:
    """Runs the demo; 0 when the good model was pushed and served, and the bad one was not."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=Path("runs/tfx-demo"), help="a new folder")
    parser.add_argument(
        "--served-by", type=Path, help="Python of an environment with another TensorFlow"
    )
    parser.add_argument("--schemas", type=Path, default=Path("training/schema"))
    given = parser.parse_args(arguments)
    logging.basicConfig(level=logging.WARNING, format="%(name)s: %(message)s")
    try:
        demo(given.out, given.schemas, given.served_by)
    except TfrecLlmError as error:
        print(f"Error: {error}", file=sys.stderr)
        return error.exit_code
    return 0


def demo(folder: Path, schemas: Path, served_by: Path | None = None) -> None:
    """Runs the pipeline twice, and asks what it pushed.

    Args:
        folder: gets everything; an earlier demo in it is replaced.
        schemas: folder of the curated schemas.
        served_by: Python of another environment, which must give the same answers.

    Raises:
        UsageError: when the folder holds something else.
        TfrecLlmError: when the good model was not pushed, or the bad one was.
        ExportError: when what was pushed does not answer, or answers differently elsewhere.
    """
    _make_room(folder)
    pushed = folder / "push"
    tables = _copy_tables(folder / "data")
    print("1/3 the bookshop as it is", flush=True)
    _run(folder, schemas, tables)
    first = _versions(pushed)
    _tell(folder)
    if len(first) != 1:
        raise TfrecLlmError(f"The good model was not pushed: see the reasons in {folder}/root.")
    print(f"  pushed: {pushed / first[0]}")

    print("2/3 the pushed model answers, here and in the other environment", flush=True)
    for request in REQUESTS:
        here = _ask(Path(sys.executable), pushed, request)
        print(f"  {' '.join(request) or 'a reader of whom nothing is known'}: {', '.join(here)}")
        if served_by is not None and (there := _ask(served_by, pushed, request)) != here:
            raise ExportError(f"{served_by} answers otherwise: {', '.join(there)}")
    if served_by is not None:
        print(f"  {served_by} gives the same ids")

    print("3/3 the bookshop with its interactions shuffled", flush=True)
    _shuffle(tables["interactions"])
    _run(folder, schemas, tables)
    _tell(folder)
    if _versions(pushed) != first:
        raise TfrecLlmError(f"A model of shuffled data was pushed to {pushed}.")
    print(f"  pushed: nothing; {pushed} still has {', '.join(first)} alone")


def _run(folder: Path, schemas: Path, tables: dict[str, Path]) -> None:
    run_pipeline(
        create_pipeline(
            tables,
            load_config(CONFIG),
            pipeline_root=folder / "root",
            push_to=folder / "push",
            metadata=folder / "metadata.db",
            schemas=schemas,
            rules=RULES,
        )
    )


def _tell(folder: Path) -> None:
    """Prints what the last run found."""
    blessing = _newest(folder / "root" / "RetrievalEvaluator" / "blessing")
    infra = _newest(folder / "root" / "ServingValidator" / "blessing")
    evaluation = _newest(folder / "root" / "RetrievalEvaluator" / "evaluation")
    models = json.loads((evaluation / "metrics.json").read_text())["models"]
    for name, slices in models.items():
        figures = slices["all"]
        print(
            f"  {name}: recall@10 {figures['recall@10']:.4f}, ndcg@10 {figures['ndcg@10']:.4f} of "
            f"{figures['queries']} cases"
        )
    for marks in (blessing, infra):
        print(f"  {next(path.name for path in marks.iterdir() if path.name.endswith('BLESSED'))}")
    for reason in (blessing / "reasons.txt").read_text().splitlines():
        print(f"  because {reason}")


def _newest(folder: Path) -> Path:
    return max(folder.iterdir(), key=lambda path: int(path.name))


def _versions(pushed: Path) -> list[str]:
    return sorted(path.name for path in pushed.iterdir()) if pushed.is_dir() else []


def _ask(python: Path, pushed: Path, request: tuple[str, ...]) -> list[str]:
    done = subprocess.run(
        [str(python), "-m", "tfrec_llm", "recommend", str(pushed), *request, "-k", "5", "--json"],
        capture_output=True,
        text=True,
        encoding="utf-8",
    )
    if done.returncode != 0:
        raise ExportError(f"{python}: the pushed model did not answer: {done.stderr[-2000:]}")
    items: list[dict[str, Any]] = json.loads(done.stdout)["items"]
    return [item["item_id"] for item in items]


def _copy_tables(folder: Path) -> dict[str, Path]:
    folder.mkdir()
    shop = resources.files("tfrec_llm").joinpath("data", "bookshop")
    for table in TABLES:
        (folder / f"{table}.csv").write_bytes(shop.joinpath(f"{table}.csv").read_bytes())
    return {table: folder / f"{table}.csv" for table in TABLES}


def _shuffle(path: Path) -> None:
    """Gives each interaction the item of another: as many of each item and reader, no taste."""
    rows = pl.read_csv(path, infer_schema=False)
    rows.with_columns(pl.col("item_id").shuffle(seed=7)).write_csv(path)


def _make_room(folder: Path) -> None:
    if folder.exists() and not (folder / _MARK).is_file() and any(folder.iterdir()):
        raise UsageError(f"{folder} holds something that is no demo. Give another --out.")
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    (folder / _MARK).write_text("{}\n")


if __name__ == "__main__":
    sys.exit(main())
