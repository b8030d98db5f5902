"""A run with time gaps, from its tables to an answer that was told times."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from pathlib import Path

import polars as pl
import pytest
from safetensors.numpy import load_file

from tfrec_llm.cli.main import main
from tfrec_llm.config.run_config import RunConfig
from tfrec_llm.errors import DataError
from tfrec_llm.workflows.build import prepare, read_dataset
from tfrec_llm.workflows.evaluate import evaluate
from tfrec_llm.workflows.train import train
from tfrec_llm.workflows.training_fingerprint import training_fingerprint

Config = Callable[..., RunConfig]


@pytest.fixture(scope="module")
def run(shop_config: Config, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("timed") / "run"
    config = shop_config("towers.time_gaps=true", "towers.history=attention", "train.refit=false")
    train(config, folder)
    return folder


def test_the_gaps_are_trained_and_kept(run: Path) -> None:
    last = load_file(run / "checkpoints/select-last.safetensors")
    (learned,) = (v for key, v in last.items() if key.endswith("history/mean/log_gap_weights"))
    assert learned.any() and not learned[0].any()
    kept = " ".join(load_file(run / "model/towers.safetensors"))
    assert "history/mean/log_gap_weights" in kept and "history/gaps/gap_embedding" in kept


def test_a_run_with_time_gaps_is_evaluated(run: Path) -> None:
    figures = evaluate(run)["models"]["two_tower"]["all"]
    assert figures["queries"] > 0 and 0.0 <= figures["recall@10"] <= 1.0


def test_times_that_are_no_numbers_are_told_on_the_command_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    asked = ["recommend", str(tmp_path), "--history", "king-1", "--history-times", "2024-01-31"]
    assert main(asked) == 2
    assert "is not a list of times. Give seconds" in " ".join(capsys.readouterr().err.split())


def test_data_without_times_is_refused_before_anything_is_encoded(
    shop_config: Config, shop_tables: Path, tmp_path: Path
) -> None:
    clicks = pl.read_csv(shop_tables / "interactions.csv").drop("timestamp")
    clicks.write_csv(tmp_path / "clicks.csv")
    config = shop_config(
        "towers.time_gaps=true",
        f"data.interactions={tmp_path}/clicks.csv",
        "encoder.preset=nowhere",
    )
    with pytest.raises(DataError, match=r"time_gaps.*has none.*data\.columns\.timestamp"):
        prepare(config, read_dataset(config.data))


def test_a_run_without_time_gaps_has_the_fingerprint_of_before_there_were_any(
    shop_config: Config,
) -> None:
    config = shop_config()
    dataset = read_dataset(config.data)
    sections = {"split", "text", "encoder", "towers", "model", "train", "ranker"}
    before = config.model_dump(mode="json", include=sections)
    left_out = {"encoder": ["cache_folder"], "train": ["strategy", "worker_timeout"]}
    for section, keys in {**left_out, "towers": ["time_gaps"]}.items():
        for key in keys:
            del before[section][key]
    text = json.dumps([before, dataset.sha256], sort_keys=True)
    assert training_fingerprint(config, dataset) == hashlib.sha256(text.encode()).hexdigest()
    timed = shop_config("towers.time_gaps=true")
    assert training_fingerprint(timed, dataset) != training_fingerprint(config, dataset)
