from __future__ import annotations

import csv
import dataclasses
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tfrec_llm.config.load import load_config
from tfrec_llm.config.run_config import RunConfig
from tfrec_llm.config.search_space import Choices, Range, SearchSpace
from tfrec_llm.errors import (
    CheckpointError,
    EncoderError,
    MissingPackageError,
    TfrecLlmError,
    UsageError,
)
from tfrec_llm.workflows import build
from tfrec_llm.workflows.study import Study
from tfrec_llm.workflows.train import train
from tfrec_llm.workflows.tune import tune

Config = Callable[..., RunConfig]
SPACE: SearchSpace = {
    "train.learning_rate": Range(0.001, 0.1, log=True),
    "train.batch_size": Range(16, 64, whole=True),
}
FILES = ["best.yaml", "report.md", "study.db", "trials.csv"]


class Untouchable:
    """Stands for a test set that nobody may look at."""

    def __getattr__(self, name: str) -> Any:
        raise AssertionError(f"the test set was asked for {name}")

    def __len__(self) -> int:
        raise AssertionError("the test set was counted")


class Killed(BaseException):
    """Stands for the end of the process."""


class KilledAt:
    """A listener with which the search ends at a message."""

    def __init__(self, start: str) -> None:
        self.start = start

    def message(self, text: str) -> None:
        if text.startswith(self.start):
            raise Killed

    def advance(self, *_: Any) -> None:
        pass


class Told:
    def __init__(self) -> None:
        self.lines: list[str] = []

    def message(self, text: str) -> None:
        self.lines.append(text)

    def advance(self, *_: Any) -> None:
        pass


@pytest.fixture(scope="session")
def config(shop_config: Config) -> RunConfig:
    return shop_config("towers.history=mean")


@pytest.fixture(scope="module")
def prepared() -> Iterator[list[RunConfig]]:
    """Counts for which runs data are prepared, and hides the test set of all of them.

    For this module alone: elsewhere a test set is there to be looked at.
    """
    calls: list[RunConfig] = []
    real = build.prepare

    def prepare(config: RunConfig, *arguments: Any, **options: Any) -> Any:
        calls.append(config)
        found = real(config, *arguments, **options)
        hidden: Any = Untouchable()
        return dataclasses.replace(found, split=dataclasses.replace(found.split, test=hidden))

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(build, "prepare", prepare)
        yield calls


@pytest.fixture(scope="module")
def tuned(
    config: RunConfig, prepared: list[RunConfig], tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, dict[str, Any], int]:
    """A study of three trials, its summary, and how often the data were prepared for it."""
    folder = tmp_path_factory.mktemp("tuned") / "study"
    before = len(prepared)
    summary = tune(config, folder, trials=3, space=SPACE)
    return folder, summary, len(prepared) - before


def rows(folder: Path) -> list[dict[str, str]]:
    with open(folder / "trials.csv", encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def without_seconds(folder: Path) -> list[dict[str, str]]:
    return [{k: v for k, v in row.items() if k != "seconds"} for row in rows(folder)]


@pytest.mark.slow
def test_the_folder_holds_what_is_promised_and_nothing_else(tuned: Any) -> None:
    folder, _, _ = tuned
    assert sorted(p.name for p in folder.iterdir() if p.name != ".lock") == FILES


@pytest.mark.slow
def test_the_data_are_prepared_once_for_all_trials(tuned: Any) -> None:
    assert tuned[2] == 1


@pytest.mark.slow
def test_trial_0_is_the_run_as_given_and_the_best_is_no_worse(
    tuned: Any, config: RunConfig, tmp_path: Path
) -> None:
    folder, summary, _ = tuned
    table = rows(folder)
    assert [row["trial"] for row in table] == ["0", "1", "2"]
    assert float(table[0]["train.learning_rate"]) == config.train.learning_rate
    assert int(table[0]["train.batch_size"]) == config.train.batch_size
    best = max(float(row["validation_ndcg@10"]) for row in table)
    assert summary["best"]["validation_ndcg@10"] == best
    assert summary["given"]["validation_ndcg@10"] == float(table[0]["validation_ndcg@10"])
    assert best >= summary["given"]["validation_ndcg@10"]


@pytest.mark.slow
def test_training_by_best_yaml_comes_to_the_ndcg_of_the_best_trial(
    tuned: Any, tmp_path: Path
) -> None:
    folder, summary, _ = tuned
    training = train(load_config(folder / "best.yaml", ["train.refit=false"]), tmp_path / "run")
    assert training["validation_ndcg@10"] == summary["best"]["validation_ndcg@10"]
    row = rows(folder)[summary["best"]["trial"]]
    curve = [float(word) for word in row["validation_ndcg@10_by_epoch"].split()]
    assert training["validation_ndcg@10_by_epoch"] == curve


@pytest.mark.slow
def test_best_yaml_is_the_run_with_the_best_settings_alone_changed(
    tuned: Any, config: RunConfig
) -> None:
    folder, summary, _ = tuned
    expected = config.model_dump()
    for key, value in summary["best"]["settings"].items():
        section, word = key.split(".")
        expected[section][word] = value
    assert load_config(folder / "best.yaml").model_dump() == expected


@pytest.mark.slow
def test_the_report_tells_best_space_and_every_trial(tuned: Any) -> None:
    folder, summary, _ = tuned
    report = (folder / "report.md").read_text()
    best = summary["best"]
    assert f"## Best: trial {best['trial']}, NDCG@10 {best['validation_ndcg@10']:.4f}" in report
    assert "| train.learning_rate | 0.001 to 0.1 (log) |" in report
    assert "Too few complete trials" in report
    assert [line[:5] for line in report.splitlines() if line[2:3].isdigit()] == [
        "| 0 |",
        "| 1 |",
        "| 2 |",
    ]


@pytest.mark.slow
def test_a_killed_search_goes_on_to_what_an_unbroken_one_comes_to(
    tuned: Any, config: RunConfig, tmp_path: Path
) -> None:
    with pytest.raises(Killed):
        tune(config, tmp_path, trials=3, space=SPACE, progress=KilledAt("trial 1: epoch 1"))
    assert [row["trial"] for row in rows(tmp_path)] == ["0"]
    told = Told()
    summary = tune(config, tmp_path, trials=3, space=SPACE, resume=True, progress=told)
    assert f"{tmp_path} has 1 trials, of 3" in told.lines
    assert without_seconds(tmp_path) == without_seconds(tuned[0])
    assert summary["best"] == tuned[1]["best"]


@pytest.mark.slow
def test_a_search_that_ended_before_its_first_trial_can_begin_again(
    config: RunConfig, tmp_path: Path
) -> None:
    with pytest.raises(Killed):
        tune(config, tmp_path, trials=1, space=SPACE, progress=KilledAt("quarantined"))
    assert tune(config, tmp_path, trials=1, space=SPACE)["trials"]["complete"] == 1


@pytest.mark.slow
def test_an_existing_study_is_not_touched_without_being_asked(
    tuned: Any, config: RunConfig
) -> None:
    with pytest.raises(UsageError, match="not empty.*--resume"):
        tune(config, tuned[0], trials=4, space=SPACE)


@pytest.mark.slow
def test_a_study_with_its_trials_done_is_told_again(tuned: Any, config: RunConfig) -> None:
    folder, before, _ = tuned
    summary = tune(config, folder, trials=2, space=SPACE, resume=True)
    assert {**summary, "seconds": 0} == {**before, "seconds": 0}


@pytest.mark.slow
def test_another_run_or_space_cannot_go_on_with_it(
    tuned: Any, shop_config: Config, config: RunConfig
) -> None:
    other = shop_config("towers.history=mean", "train.epochs=2")
    for run, space in ((other, SPACE), (config, {"towers.dropout": Range(0.0, 0.5)})):
        with pytest.raises(CheckpointError, match="another configuration"):
            tune(run, tuned[0], trials=4, space=space, resume=True)


def test_a_folder_of_something_else_is_refused(config: RunConfig, tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").touch()
    with pytest.raises(UsageError, match="other things than a study"):
        tune(config, tmp_path, trials=1, resume=True)
    (tmp_path / "file").touch()
    with pytest.raises(UsageError, match="cannot be used as a study folder"):
        tune(config, tmp_path / "file", trials=1)


@pytest.mark.slow
def test_time_that_is_up_leaves_the_given_run_as_the_best(
    config: RunConfig, tmp_path: Path
) -> None:
    told = Told()
    summary = tune(config, tmp_path, trials=3, space=SPACE, timeout_seconds=0.0, progress=told)
    assert summary["trials"] == {"complete": 1, "pruned": 0, "failed": 0}
    assert "time is up after 1 of 3 trials" in told.lines


@pytest.mark.slow
def test_settings_that_diverge_fail_and_the_search_goes_on(
    config: RunConfig, tmp_path: Path
) -> None:
    space: SearchSpace = {"train.temperature": Choices((1e-42,))}
    summary = tune(config, tmp_path, trials=2, space=space)
    assert summary["trials"] == {"complete": 1, "pruned": 0, "failed": 1}
    assert "loss of epoch 1 is nan" in rows(tmp_path)[1]["reason"]
    assert summary["best"]["trial"] == 0


@pytest.mark.slow
def test_a_search_without_a_trial_that_came_to_its_end_is_an_error(
    shop_config: Config, tmp_path: Path
) -> None:
    diverging = shop_config("towers.history=mean", "train.temperature=1e-42")
    with pytest.raises(TfrecLlmError, match="None of the 1 trials .* came to its end"):
        tune(diverging, tmp_path, trials=1, space=SPACE)
    assert not (tmp_path / "best.yaml").exists() and rows(tmp_path)[0]["state"] == "failed"


@pytest.mark.slow
def test_a_trial_with_another_text_has_its_own_features(
    config: RunConfig, prepared: list[RunConfig], tmp_path: Path
) -> None:
    before = len(prepared)
    tune(config, tmp_path, trials=2, space={"text.max_tokens": Choices((8,))})
    assert [run.text.max_tokens for run in prepared[before:]] == [16, 8]


@pytest.mark.slow
def test_a_trial_that_is_not_worth_going_on_is_stopped(
    shop_config: Config, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = Study.report
    monkeypatch.setattr(
        Study, "report", lambda study, epoch, metric: real(study, epoch, metric) and epoch < 1
    )
    longer = shop_config("towers.history=mean", "train.epochs=3")
    with pytest.raises(TfrecLlmError):
        tune(longer, tmp_path, trials=1, space=SPACE)
    (row,) = rows(tmp_path)
    assert row["state"] == "pruned"
    assert len(row["validation_ndcg@10_by_epoch"].split()) == 2  # of the start and one epoch


def test_a_run_that_cannot_be_prepared_leaves_the_folder_free(
    shop_config: Config, tmp_path: Path
) -> None:
    with pytest.raises(EncoderError):
        tune(shop_config("encoder.preset=nowhere"), tmp_path, trials=1)
    assert [path.name for path in tmp_path.iterdir()] == [".lock"]


@pytest.mark.parametrize("trials", [0, -1])
def test_no_trial_is_no_search(trials: int, config: RunConfig, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=f"trials is {trials}"):
        tune(config, tmp_path / "study", trials=trials)


def test_without_optuna_nothing_is_begun(
    config: RunConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "optuna", None)
    with pytest.raises(MissingPackageError, match=r"tfrec_llm\[tune\]"):
        tune(config, tmp_path / "study", trials=1)
    assert not (tmp_path / "study").exists()
