from __future__ import annotations

import json
import math
import shutil
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from tfrec_llm.baselines.tuning import GRIDS
from tfrec_llm.errors import CorruptFileError, UsageError
from tfrec_llm.workflows.evaluate import evaluate


@pytest.fixture(scope="module")
def evaluated(trained_shop: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Any]:
    run = Path(shutil.copytree(trained_shop, tmp_path_factory.mktemp("evaluated") / "run"))
    return run, evaluate(run)


def test_without_baselines_there_is_one_model(evaluated: tuple[Path, Any]) -> None:
    run, metrics = evaluated
    assert list(metrics["models"]) == ["two_tower"]
    assert json.loads((run / "metrics.json").read_text()) == metrics


def test_a_report_and_a_card_for_people_are_written(evaluated: tuple[Path, Any]) -> None:
    run, metrics = evaluated
    recall = f"{metrics['models']['two_tower']['all']['recall@10']:.4f}".lstrip("0")[:5]
    assert recall in (run / "report.html").read_text()
    assert "two_tower" in (run / "model_card.md").read_text()


def test_the_figures_follow_from_the_lists(evaluated: tuple[Path, Any]) -> None:
    run, metrics = evaluated
    gains, hits = [], []
    for row in pl.read_parquet(run / "rankings.parquet").iter_rows(named=True):
        first = row["item_ids"][:10]
        hits.append(row["target_item_id"] in first)
        gains.append(1 / math.log2(first.index(row["target_item_id"]) + 2) if hits[-1] else 0.0)
    figures = metrics["models"]["two_tower"]["all"]
    assert figures["recall@10"] == pytest.approx(sum(hits) / len(hits), abs=1e-6)
    assert figures["ndcg@10"] == pytest.approx(sum(gains) / len(gains), abs=1e-6)


def test_cold_users_are_also_asked_by_their_text_alone(evaluated: tuple[Path, Any]) -> None:
    figures = evaluated[1]["models"]["two_tower"]
    assert figures["cold_users"]["queries"] == 3
    assert 0 < figures["cold_users_text_only"]["queries"] <= 3


def test_the_protocol_says_what_was_ranked_and_fitted_on(evaluated: tuple[Path, Any]) -> None:
    protocol = evaluated[1]["protocol"]
    assert (protocol["split"], protocol["corpus"], protocol["test_queries"]) == (
        "leave_one_out",
        42,
        60,
    )
    assert protocol["fitted_on"] == "training + validation"


def test_lists_can_go_elsewhere(trained_shop: Path, tmp_path: Path) -> None:
    run = Path(shutil.copytree(trained_shop, tmp_path / "run"))
    evaluate(run, rankings=tmp_path / "new folder" / "lists.parquet")
    assert pl.read_parquet(tmp_path / "new folder" / "lists.parquet").height == 60
    assert not (run / "rankings.parquet").exists()


def test_a_sample_of_users_is_seeded(trained_shop: Path, tmp_path: Path) -> None:
    run = Path(shutil.copytree(trained_shop, tmp_path / "run"))
    config = (run / "config.yaml").read_text().replace("max_users: null", "max_users: 20")
    (run / "config.yaml").write_text(config)
    users = []
    for name in ("a", "b"):
        assert evaluate(run, rankings=tmp_path / name)["protocol"]["test_queries"] == 20
        users.append(pl.read_parquet(tmp_path / name)["user_id"].to_list())
    assert users[0] == users[1] and len(set(users[0])) == 20


def test_a_run_that_is_not_there_or_not_finished_is_refused(
    trained_shop: Path, tmp_path: Path
) -> None:
    with pytest.raises(UsageError, match="no run folder"):
        evaluate(tmp_path / "nix")
    run = Path(shutil.copytree(trained_shop, tmp_path / "run"))
    (run / "training.json").unlink()
    with pytest.raises(UsageError, match="no finished training"):
        evaluate(run)


def test_a_model_that_was_changed_is_refused(trained_shop: Path, tmp_path: Path) -> None:
    run = Path(shutil.copytree(trained_shop, tmp_path / "run"))
    (run / "model" / "item_embeddings.npy").write_bytes(b"")
    with pytest.raises(CorruptFileError, match=r"item_embeddings\.npy"):
        evaluate(run)


def test_sasrec_is_measured_when_asked_for(
    trained_shop: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(GRIDS, "sasrec", {"embedding_dim": (8,), "max_epochs": (1,)})
    run = Path(shutil.copytree(trained_shop, tmp_path / "run"))
    models = evaluate(run, sasrec=True)["models"]
    assert set(models) == {"two_tower", "sasrec"}
    assert models["sasrec"]["settings"]["num_epochs"] in (0, 1)
