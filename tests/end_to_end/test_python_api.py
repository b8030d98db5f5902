"""The lines that README.md shows, in a process of their own."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow

SCRIPT = """
import json, sys
import tfrec_llm as tr
assert "tensorflow" not in sys.modules

data = tr.read_tables(items="items.csv", interactions="interactions.csv", users="users.csv")
recommender = tr.train(
    data,
    encoder="preset",
    out="run",
    config={"text": {"max_tokens": 16}, "towers": {"embedding_dim": 8}, "train": {"epochs": 1}},
)
found = recommender.recommend(text="space opera", history=["space-2"], k=5)
metrics = recommender.evaluate(baselines=True)
summary = recommender.export("exports/shop", index="brute_force")
again = tr.load("exports/shop").recommend(text="space opera", history=["space-2"], k=5)
print(json.dumps({
    "found": [r.item_id for r in found],
    "again": [r.item_id for r in again],
    "models": sorted(metrics["models"]),
    "version": summary["version"],
}))
"""


def test_tables_become_recommendations_figures_and_an_export(
    new_shop: Callable[[], Path], cli: Callable[..., subprocess.CompletedProcess[str]]
) -> None:
    folder = new_shop()
    ended = subprocess.run(
        [sys.executable, "-c", SCRIPT], cwd=folder, capture_output=True, text=True
    )
    assert ended.returncode == 0, ended.stderr
    said = json.loads(ended.stdout)
    assert len(said["found"]) == 5 and said["found"] == said["again"]
    assert "space-2" not in said["found"] and said["version"] == 1
    assert {"two_tower", "popularity", "item_knn", "als", "tfidf"} <= set(said["models"])
    assert {p.name for p in (folder / "run").iterdir()} >= {"metrics.json", "report.html"}
    refused = cli("evaluate", folder / "run")
    assert refused.returncode == 2 and "handed over in Python" in refused.stderr
