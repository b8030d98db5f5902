"""Runs that several tests ask: a small shop with a tiny language model, and the bookshop."""

from __future__ import annotations

import contextlib
import functools
import io
import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import tfrec_llm as tr
from tfrec_llm.cli.main import main
from tfrec_llm.testing.small_tables import small_tables

SMALL_RUN = """
data: {items: items.csv, interactions: interactions.csv, users: users.csv}
text: {max_tokens: 16}
encoder: {preset: ./preset}
towers: {embedding_dim: 8, max_history: 5, text_start_share: 1.0}
train: {epochs: 30, patience: 30, batch_size: 8, uniform_negatives: 16, learning_rate: 0.01}
evaluate: {ks: [5, 10, 100], bootstrap_samples: 50}
index: {kind: brute_force, max_k: 50}
"""
Done = subprocess.CompletedProcess[str]


@pytest.fixture(scope="session", autouse=True)
def cache_folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Text vectors are kept for the session, and nothing of the user's own is touched."""
    folder = tmp_path_factory.mktemp("cache")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TFREC_LLM_CACHE", str(folder))
        yield folder


@pytest.fixture(scope="session")
def cli() -> Callable[..., Done]:
    """Runs a command as a process of its own."""

    def run(*arguments: Any, **options: Any) -> Done:
        words = [sys.executable, "-m", "tfrec_llm", *map(str, arguments)]
        return subprocess.run(words, capture_output=True, text=True, **options)

    return run


@pytest.fixture(scope="session")
def done(cli: Callable[..., Done]) -> Callable[..., Done]:
    """Runs a command as a process of its own, which must end well."""

    def run(*arguments: Any) -> Done:
        ended = cli(*arguments)
        assert ended.returncode == 0, ended.stderr[-2000:]
        return ended

    return run


@pytest.fixture
def fails(capsys: pytest.CaptureFixture[str]) -> Callable[..., str]:
    """Runs a command in this process, where TensorFlow is loaded; returns the error it tells."""

    def run(code: int, *arguments: Any) -> str:
        capsys.readouterr()
        assert main([str(a) for a in arguments]) == code
        output, errors = capsys.readouterr()
        assert output == "" and "Traceback" not in errors
        before, start, paragraph = errors.rpartition("Error: ")
        assert start and (before == "" or before.endswith("\n")) and "\n\n" not in paragraph.strip()
        return paragraph

    return run


@pytest.fixture(scope="session")
def load_once() -> Callable[[Path], Any]:
    return functools.cache(tr.load)


@pytest.fixture
def answers(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, load_once: Any
) -> Callable[..., list[dict[str, Any]]]:
    """Asks an export with --json in this process, which loads it once; returns the items."""
    monkeypatch.setattr("tfrec_llm.workflows.recommend.load", load_once)

    def ask(*arguments: Any) -> list[dict[str, Any]]:
        capsys.readouterr()
        assert main([*map(str, arguments), "--json"]) == 0
        items: list[dict[str, Any]] = json.loads(capsys.readouterr().out)["items"]
        return items

    return ask


@pytest.fixture(scope="session")
def preset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from tfrec_llm.testing.tiny_models import tiny_preset

    return tiny_preset(tmp_path_factory.mktemp("preset"))


@pytest.fixture(scope="session")
def new_shop(tmp_path_factory: pytest.TempPathFactory, preset: Path) -> Callable[[], Path]:
    """Makes a folder with the small tables and the run.yaml for them."""

    def make() -> Path:
        folder = small_tables(tmp_path_factory.mktemp("shop"))
        (folder / "preset").symlink_to(preset)
        (folder / "run.yaml").write_text(SMALL_RUN)
        return folder

    return make


@pytest.fixture(scope="session")
def shop(new_shop: Callable[[], Path], done: Callable[..., Done]) -> Path:
    """The small shop with a trained `run`; what the training said is in train.out and .err."""
    folder = new_shop()
    trained = done("train", folder / "run.yaml", "--out", folder / "run")
    (folder / "train.out").write_text(trained.stdout)
    (folder / "train.err").write_text(trained.stderr)
    return folder


@pytest.fixture(scope="session")
def shop_metrics(shop: Path) -> dict[str, Any]:
    """What `evaluate --baselines --json` printed of the small shop, in this process."""
    with contextlib.redirect_stdout(io.StringIO()) as printed:
        assert main(["evaluate", str(shop / "run"), "--baselines", "--json"]) == 0
    metrics: dict[str, Any] = json.loads(printed.getvalue())
    return metrics


@pytest.fixture(scope="session")
def shop_export(shop: Path, done: Callable[..., Done]) -> Path:
    done("export", shop / "run", "--out", shop / "export")
    return shop / "export"


@pytest.fixture(scope="session")
def recomputed() -> Callable[[Path], dict[str, dict[str, float]]]:
    """Computes Recall@10 and NDCG@10 of every model anew, from the lists of a run alone."""

    def compute(run: Path) -> dict[str, dict[str, float]]:
        import math

        import polars as pl

        found: dict[str, dict[str, float]] = {}
        for (name,), rows in pl.read_parquet(run / "rankings.parquet").group_by("model"):
            places = [
                items.index(target) if target in items else math.inf
                for items, target in rows.select("item_ids", "target_item_id").iter_rows()
            ]
            hits = [place for place in places if place < 10]
            found[str(name)] = {
                "recall@10": len(hits) / len(places),
                "ndcg@10": sum(1 / math.log2(place + 2) for place in hits) / len(places),
            }
        return found

    return compute


@pytest.fixture(scope="session")
def bookshop(tmp_path_factory: pytest.TempPathFactory, done: Callable[..., Done]) -> Path:
    """A folder with a `run` on the bookshop, evaluated, and an `export` of both indexes."""
    folder = tmp_path_factory.mktemp("bookshop")
    (folder / "run.yaml").write_text(
        "data: {source: bookshop}\ntrain: {epochs: 3, batch_size: 32}\n"
        "evaluate: {bootstrap_samples: 100}\n"
    )
    done("train", folder / "run.yaml", "--out", folder / "run")
    done("evaluate", folder / "run", "--baselines")
    for index in ("brute_force", "scann"):
        done("export", folder / "run", "--out", folder / index, "--index", index)
    return folder


if "TF_CPP_MIN_LOG_LEVEL" not in os.environ:  # the processes started here inherit it
    os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
