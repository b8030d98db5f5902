"""One pipeline run that all tests of this folder look at."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tfrec_llm.config.load import config_from
from tfrec_llm.config.run_config import RunConfig
from tfrec_llm.testing.tiny_models import tiny_preset

_TASTES = ("space opera planet", "king queen dragon", "love story young", "city train house")
_SCHEMA = """
feature {{
  name: "{0}" type: BYTES
  presence {{ min_fraction: 1.0 min_count: 1 }} shape {{ dim {{ size: 1 }} }}
  {1}
}}
"""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Skips what needs TFX where there is none."""
    if find_spec("tfx") is None:
        reason = "needs TFX, which has an environment of its own: make tfx-test"
        for item in items:
            if item.path.parent == Path(__file__).parent:
                item.add_marker(pytest.mark.skip(reason=reason))


def _write_shop(folder: Path, *, item_ids_are_numbers: bool = False) -> dict[str, Path]:
    """Four tastes of twelve items; each of 48 readers took six items of one taste, in turn."""
    folder.mkdir(parents=True, exist_ok=True)
    draw = np.random.default_rng(5)
    items, clicks = [], []
    for taste, words in enumerate(_TASTES):
        ids = [str(100 * taste + n) for n in range(12)]
        if not item_ids_are_numbers:
            ids = [f"{words.split()[0]}-{n}" for n in ids]
        items += [(i, f"<b>{' '.join(draw.choice(words.split(), 4))}</b>") for i in ids]
        for reader in range(12):
            first = int(draw.integers(12))
            for step in range(6):
                clicks.append(
                    (f"reader-{taste}-{reader}", ids[(first + step) % 12], f"2024-01-{step + 1:02}")
                )
    order = draw.permutation(len(clicks))  # rows in no order: times alone tell it
    rows = {
        "items": [("item_id", "title"), *items],
        "interactions": [
            ("user_id", "item_id", "timestamp"),
            *(clicks[i] for i in order),
        ],
    }
    paths = {}
    for name, table in rows.items():
        paths[name] = folder / f"{name}.csv"
        with open(paths[name], "w", newline="") as file:
            csv.writer(file).writerows(table)
    return paths


def _write_schemas(folder: Path) -> Path:
    """Curated schemas of that shop."""
    folder.mkdir(parents=True, exist_ok=True)
    drift = "drift_comparator { infinity_norm { threshold: 0.05 } }"
    features = {
        "items": [("item_id", ""), ("title", "")],
        "interactions": [("user_id", ""), ("item_id", drift), ("timestamp", "")],
    }
    for table, names in features.items():
        text = "".join(_SCHEMA.format(*name) for name in names)
        (folder / f"{table}.pbtxt").write_text(text)
    return folder


@dataclass
class PipelineRun:
    """What the tests look at: folders, and what went in."""

    folder: Path
    tables: dict[str, Path]
    schemas: Path
    config: RunConfig

    @property
    def pushed(self) -> list[Path]:
        push = self.folder / "push"
        return sorted(push.iterdir()) if push.is_dir() else []

    def pipeline(self, **options: Any) -> Any:
        from tfrec_llm.pipelines.on_tfx.pipeline import create_pipeline

        return create_pipeline(
            **{
                "tables": self.tables,
                "config": self.config,
                "pipeline_root": self.folder / "root",
                "push_to": self.folder / "push",
                "metadata": self.folder / "metadata.db",
                "schemas": self.schemas,
                **options,
            }
        )

    def outputs(self, component: str, output: str) -> list[Path]:
        """Folders of an output of a component, of all runs, oldest first."""
        found = (self.folder / "root" / component / output).glob("*")
        return sorted(found, key=lambda path: int(path.name))

    def metrics(self) -> dict[str, Any]:
        """The figures that the last run judged by."""
        path = self.outputs("RetrievalEvaluator", "evaluation")[-1] / "metrics.json"
        return json.loads(path.read_text())


def _make_run(folder: Path) -> PipelineRun:
    """Everything that a run needs, and a tiny language model with tensorflow-text's ops."""
    encoder = tiny_preset(folder / "encoder")
    config = config_from(
        {
            "data": {"source": "memory", "columns": {"item_text": ["title"]}},
            "text": {"clean": "light", "max_tokens": 12},
            "encoder": {"preset": str(encoder), "cache_folder": str(folder / "cache")},
            "towers": {"embedding_dim": 16, "history": "mean", "max_history": 6},
            "train": {"epochs": 2, "batch_size": 16, "uniform_negatives": 16},
            "evaluate": {"ks": [1, 5, 10], "bootstrap_samples": 20},
            "index": {"kind": "scann", "min_recall": 0.0},
        }
    )
    return PipelineRun(
        folder, _write_shop(folder / "data"), _write_schemas(folder / "schema"), config
    )


@pytest.fixture(scope="session")
def first_run(tmp_path_factory: Any) -> PipelineRun:
    """The whole pipeline, once, without the cache."""
    from tfrec_llm.pipelines.on_tfx.pipeline import run_pipeline

    run = _make_run(tmp_path_factory.mktemp("tfx"))
    run_pipeline(run.pipeline(enable_cache=False))
    return run


@pytest.fixture
def another_run() -> Callable[[Path], PipelineRun]:
    """Makes a run in a folder of its own."""
    return _make_run


@pytest.fixture
def write_shop() -> Callable[..., dict[str, Path]]:
    """Writes the tables of the shop."""
    return _write_shop
