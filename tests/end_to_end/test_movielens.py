"""Real ratings and a real language model, a few minutes on two cores."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

pytestmark = [pytest.mark.slow, pytest.mark.exhaustive]

RUN = """
data: {{source: movielens, folder: {folder}, min_rating: 4.0}}
text: {{max_tokens: 32}}
towers: {{embedding_dim: 64, max_history: 30}}
train: {{epochs: 1, batch_size: 128, uniform_negatives: 1024}}
evaluate: {{bootstrap_samples: 100}}
"""


@pytest.fixture(scope="module")
def run(
    shared_data: Path, tmp_path_factory: pytest.TempPathFactory, done: Callable[..., Any]
) -> Path:
    folder = tmp_path_factory.mktemp("movielens")
    (folder / "run.yaml").write_text(RUN.format(folder=shared_data / "movielens-small"))
    done("train", folder / "run.yaml", "--out", folder / "run")
    done("evaluate", folder / "run", "--baselines")
    return folder / "run"


def test_ours_is_above_popularity_and_text_alone(run: Path) -> None:
    models = json.loads((run / "metrics.json").read_text())["models"]
    ours = models["two_tower"]["all"]["ndcg@10"]
    for name in ("popularity", "tfidf", "zero_shot"):
        assert ours > models[name]["all"]["ndcg@10"], name


def test_the_figures_can_be_computed_again(run: Path, recomputed: Any) -> None:
    models = json.loads((run / "metrics.json").read_text())["models"]
    found = recomputed(run)
    assert set(found) == set(models) and models["two_tower"]["all"]["queries"] > 500
    for name, figures in found.items():
        for key, value in figures.items():
            assert models[name]["all"][key] == pytest.approx(value, abs=1e-4)
