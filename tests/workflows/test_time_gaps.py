"""A run with time gaps, from its tables to an answer that was told times."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from tfrec_llm.cli.main import main
from tfrec_llm.config.run_config import RunConfig
from tfrec_llm.errors import DataError
from tfrec_llm.serving import saved_model
from tfrec_llm.serving.trained import TrainedModel
from tfrec_llm.testing.layer_checks import randomise
from tfrec_llm.workflows.build import prepare, read_dataset
from tfrec_llm.workflows.evaluate import evaluate
from tfrec_llm.workflows.export import export
from tfrec_llm.workflows.train import train, training_fingerprint

Config = Callable[..., RunConfig]
NOW = 1_700_000_000


@pytest.fixture(scope="module")
def run(shop_config: Config, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("timed") / "run"
    config = shop_config("towers.time_gaps=true", "towers.history=attention", "train.refit=false")
    train(config, folder)
    return folder


def test_the_gaps_are_learned_and_kept(run: Path) -> None:
    model = TrainedModel.load(run / "model").model
    learned = {v.path.split("/")[-1]: np.asarray(v.value) for v in model.user_tower.variables}
    for name in ("gap_embedding", "log_gap_weights"):
        assert learned[name].any() and not learned[name][0].any()


def test_a_run_with_time_gaps_is_evaluated(run: Path) -> None:
    figures = evaluate(run)["models"]["two_tower"]["all"]
    assert figures["queries"] > 0 and 0.0 <= figures["recall@10"] <= 1.0


def test_times_on_the_command_line_change_the_answer_of_an_export(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(saved_model, "check_export", lambda *_: [])
    trained = TrainedModel.load(run / "model")
    randomise(trained.model.user_tower, scale=1.0)  # an epoch of this shop learns little
    saved_model.write_export(trained.servable(index="brute_force", max_k=20), tmp_path / "export")

    def scores(*times: str) -> list[float]:
        asked = ["--history", "king-1,king-2", "-k", "5", "--json", *times]
        assert main(["recommend", str(tmp_path / "export"), *asked]) == 0
        return [item["score"] for item in json.loads(capsys.readouterr().out)["items"]]

    unknown = scores("--history-times", "0,0")
    assert unknown == pytest.approx(scores(), abs=1e-5)
    day = scores("--history-times", f"{NOW},{NOW + 86_400}")
    assert np.abs(np.subtract(day, unknown)).max() > 1e-3


@pytest.mark.slow
def test_an_export_with_time_gaps_can_be_deployed(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    export(run, tmp_path / "export")
    assert main(["check", str(tmp_path / "export"), "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert report["deployable"]["stock"]
    assert "recommend_timed" in report["facts"]["signatures"]


@pytest.mark.parametrize(
    ("times", "message"), [("0,x", "--history-times '0,x' is not a list"), ("7", "makes no use")]
)
def test_times_that_cannot_be_used_are_told_on_the_command_line(
    times: str,
    message: str,
    trained_shop: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(saved_model, "check_export", lambda *_: [])
    if times == "7":
        export(trained_shop, tmp_path / "export")
    asked = ["recommend", str(tmp_path / "export"), "--history", "king-1"]
    assert main([*asked, "--history-times", times]) == 2
    assert message in " ".join(capsys.readouterr().err.split())


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


def test_the_fingerprint_of_a_run_without_time_gaps_is_what_it_was(shop_config: Config) -> None:
    config = shop_config()
    dataset = read_dataset(config.data)
    del config.towers.__dict__["time_gaps"]  # as before there was such a setting
    before = config.model_dump(mode="json")["towers"]
    assert "time_gaps" not in before
    fresh = shop_config()
    timed = shop_config("towers.time_gaps=true")
    found = [training_fingerprint(c, dataset) for c in (fresh, timed)]
    assert found[0] != found[1]
