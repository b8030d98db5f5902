from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tfrec_llm.config.run_config import RunConfig
from tfrec_llm.data.tables import read_tables
from tfrec_llm.errors import ConfigError, UsageError
from tfrec_llm.workflows.api import train
from tfrec_llm.workflows.train import train as train_run
from tfrec_llm.workflows.training_fingerprint import training_fingerprint
from tfrec_llm.workflows.tune import tune


def test_where_a_run_is_trained_is_no_part_of_what_it_is(
    shop_config: Callable[..., RunConfig], shop_tables: Path
) -> None:
    data = read_tables(shop_tables / "items.csv", shop_tables / "interactions.csv")
    settings = ("train.strategy=mirrored", "train.worker_timeout=9")
    here = training_fingerprint(shop_config(), data)
    assert training_fingerprint(shop_config(*settings), data) == here
    assert training_fingerprint(shop_config("train.patience=9"), data) != here


def test_a_factorisation_is_trained_by_one_process(shop_config: Callable[..., RunConfig]) -> None:
    with pytest.raises(ConfigError, match="set train.strategy to none, or use model.kind"):
        shop_config("model.kind=matrix_factorisation", "train.strategy=mirrored")


def test_several_workers_need_processes_of_their_own(
    shop_config: Callable[..., RunConfig], shop_tables: Path, tmp_path: Path
) -> None:
    data = read_tables(shop_tables / "items.csv", shop_tables / "interactions.csv")
    sections = {"train": {"strategy": "multi_worker"}}
    with pytest.raises(UsageError, match="a process of its own on every machine"):
        train(data, out=tmp_path / "run", config=sections)
    with pytest.raises(UsageError, match="A search trains in one process"):
        tune(shop_config("train.strategy=multi_worker"), tmp_path / "study", trials=1)
    assert not list(tmp_path.iterdir())


def test_a_worker_without_a_cluster_leaves_no_folder(
    shop_config: Callable[..., RunConfig], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("TF_CONFIG", raising=False)
    with pytest.raises(UsageError, match="TF_CONFIG, which is ''"):
        train_run(shop_config("train.strategy=multi_worker"), tmp_path / "run")
    assert not list(tmp_path.iterdir())
