"""From tables to shards to a run that is evaluated and exported."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tfrec_llm as tr
from tfrec_llm.cli.main import main
from tfrec_llm.config.run_config import RunConfig
from tfrec_llm.errors import ConfigError, UsageError
from tfrec_llm.serving.trained import TrainedModel
from tfrec_llm.workflows.evaluate import evaluate
from tfrec_llm.workflows.export import export
from tfrec_llm.workflows.shard import shard
from tfrec_llm.workflows.train import train

Config = Callable[..., RunConfig]
COLD = "split.cold_user_share=0.0"  # the only thing that is drawn otherwise
ONE_EPOCH = (COLD, "train.refit=false", "towers.neighbours=0")


class Told:
    def __init__(self) -> None:
        self.lines: list[str] = []

    def message(self, text: str) -> None:
        self.lines.append(text)

    def advance(self, *_: Any) -> None:
        pass


@pytest.fixture(scope="module")
def shards(shop_config: Config, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("sharded") / "shards"
    shard(shop_config(), folder, num_shards=3)
    return folder


@pytest.fixture(scope="module")
def streamed(shop_config: Config, shards: Path) -> Config:
    """The configuration of the small shop, which reads shards."""
    tables = [f"data.{name}=null" for name in ("items", "interactions", "users")]
    source = ["data.source=shards", f"data.folder={shards}", *tables]
    return lambda *overrides: shop_config(*source, *overrides)


@pytest.fixture(scope="module")
def run(streamed: Config, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("streamed") / "run"
    train(streamed(*ONE_EPOCH), folder)
    return folder


@pytest.mark.slow
def test_an_untrained_model_is_that_of_the_tables(
    shop_config: Config, streamed: Config, tmp_path: Path
) -> None:
    changes = (COLD, "train.epochs=0", "towers.neighbours=3")
    summaries = [
        train(config(*changes), tmp_path / name)
        for name, config in (("tables", shop_config), ("shards", streamed))
    ]
    tables, ours = (TrainedModel.load(tmp_path / name / "model") for name in ("tables", "shards"))
    np.testing.assert_allclose(ours.item_embeddings, tables.item_embeddings, atol=1e-4)
    np.testing.assert_array_equal(ours.num_clicks, tables.num_clicks)
    np.testing.assert_array_equal(ours.neighbours.numbers, tables.neighbours.numbers)
    for key in ("start", "neighbours", "validation_ndcg@10"):
        assert flat(summaries[1][key]) == pytest.approx(flat(summaries[0][key]), abs=1e-5)
    for key in ("users", "items", "interactions", "quarantined", "below_min_rating"):
        assert summaries[1]["data"][key] == summaries[0]["data"][key]


def flat(value: Any) -> list[Any]:
    return [n for v in value.values() for n in flat(v)] if isinstance(value, dict) else [value]


@pytest.mark.slow
def test_a_run_from_shards_is_evaluated_and_exported(
    run: Path, tmp_path: Path, without_fresh_process: None
) -> None:
    metrics = evaluate(run, baselines=True)
    assert metrics["protocol"]["test_queries"] == 60
    assert set(metrics["models"]) >= {"two_tower", "popularity", "item_knn"}
    # The small shop is easy: by its groups of words alone half of the targets are found.
    assert metrics["models"]["two_tower"]["all"]["recall@10"] > 0.5
    export(run, tmp_path / "export")
    answer = tr.load(tmp_path / "export").recommend(text="space planet", k=3)
    assert len(answer) == 3


@pytest.mark.slow
def test_it_learns_what_a_run_from_tables_learns(
    run: Path, shop_config: Config, tmp_path: Path
) -> None:
    """Only the order of the batches differs, so the figures of one epoch are near."""
    train(shop_config(*ONE_EPOCH), tmp_path / "run")
    tables, ours = (
        json.loads((folder / "training.json").read_text()) for folder in (tmp_path / "run", run)
    )
    assert ours["validation_ndcg@10_by_epoch"][0] == pytest.approx(
        tables["validation_ndcg@10_by_epoch"][0], abs=1e-5
    )
    assert ours["validation_ndcg@10_by_epoch"][1] == pytest.approx(
        tables["validation_ndcg@10_by_epoch"][1], abs=0.05
    )


def test_what_does_not_fit_is_left_out_and_said(
    streamed: Config, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tfrec_llm.data.shards.streamed_interactions.MOST_IN_MEMORY", 10)
    told = Told()
    config = streamed(
        "train.epochs=0",
        "data.start_memory_gb=1e-9",
        "evaluate.max_users=20",
        "towers.text_start_share=null",
    )
    summary = train(config, tmp_path / "run", progress=told)
    assert summary["start"]["text_share"] is None
    assert any("the start is random: data.start_memory_gb" in line for line in told.lines)
    assert any("neighbours and prior are left out" in line for line in told.lines)
    assert any("a seeded sample of 60 test cases" in line for line in told.lines)
    metrics = evaluate(tmp_path / "run", baselines=True, progress=told)
    assert set(metrics["models"]) == {"two_tower", "popularity"}
    assert "item_knn" in metrics["protocol"]["baselines_left_out"]
    assert metrics["protocol"]["test_queries"] == 20
    assert metrics["protocol"]["test_queries_drawn_from"] == 60


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("split.protocol=random", "leave_one_out"),
        ("split.train_share=0.5", "train_share"),
        ("model.kind=matrix_factorisation", "two_tower"),
        ("ranker.train=true", "ranker.train"),
    ],
)
def test_what_cannot_be_streamed_is_refused(streamed: Config, override: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        streamed(override)


def test_shards_are_written_from_tables_into_a_new_folder(
    shop_config: Config, streamed: Config, shards: Path, tmp_path: Path
) -> None:
    with pytest.raises(UsageError, match="not from shards"):
        shard(streamed(), tmp_path / "out")
    with pytest.raises(UsageError, match="holds something already"):
        shard(shop_config(), shards)


def test_the_command_writes_shards(
    shop_tables: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = tmp_path / "run.yaml"
    tables = {name: f"{shop_tables}/{name}.csv" for name in ("items", "interactions", "users")}
    config.write_text(f"data: {json.dumps(tables)}\n")
    out = tmp_path / "shards"
    assert main(["shard", str(config), "--out", str(out), "--shards", "2", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["shards"] == 2 and told["users"] == 60
    assert told["quarantined"]["interactions: unknown_item"] == 1
    assert len(list((out / "shards").iterdir())) == 2
    assert main(["shard", str(config), "--out", str(out)]) == 2
