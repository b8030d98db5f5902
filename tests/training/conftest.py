"""A small shop in files, and processes that train on it."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest
import yaml

from tfrec_llm.testing.small_tables import small_tables


@pytest.fixture(scope="session")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with tables, a language model of a few kilobytes and `run.yaml`."""
    from tfrec_llm.testing.tiny_models import tiny_preset

    folder = small_tables(tmp_path_factory.mktemp("shop"))
    tiny_preset(folder / "bert")
    config = {
        "data": {name: f"{name}.csv" for name in ("items", "interactions", "users")},
        "encoder": {"preset": str(folder / "bert")},
        "text": {"max_tokens": 16},
        # Without drop-out, whose draws are others on every number of replicas.
        "towers": {
            "embedding_dim": 8,
            "max_history": 5,
            "text_start_share": 1.0,
            "item_id_dropout": 0.0,
            "dropout": 0.0,
        },
        "train": {"epochs": 2, "batch_size": 31, "uniform_negatives": 16, "learning_rate": 0.02},
    }
    (folder / "run.yaml").write_text(yaml.safe_dump(config))
    return folder


@pytest.fixture(scope="session", autouse=True)
def cache_folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TFREC_LLM_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture(scope="session")
def python() -> Callable[[Sequence[str | Path]], subprocess.CompletedProcess[str]]:
    """Runs Python with some words, to its end."""

    def run(words: Sequence[str | Path]) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, *map(str, words)],
            capture_output=True,
            text=True,
            timeout=600,
            env={**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"},
        )

    return run
