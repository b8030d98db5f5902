from __future__ import annotations

import math
import sys
from pathlib import Path
from typing import Any

import pytest

from tfrec_llm.config.search_space import Choices, Range, SearchSpace
from tfrec_llm.errors import CheckpointError, CorruptFileError, MissingPackageError
from tfrec_llm.workflows.study import COMPLETE, FAILED, PRUNED, Study, optuna_package

SPACE: SearchSpace = {
    "train.learning_rate": Range(0.001, 1.0, log=True),
    "train.batch_size": Range(2, 64, whole=True),
    "towers.text_start_share": Choices((None, 0.5)),
}
GIVEN: dict[str, Any] = {
    "train.learning_rate": 0.1,
    "train.batch_size": 32,
    "towers.text_start_share": None,
}


def opened(folder: Path, fingerprint: str = "a", seed: int = 7) -> Study:
    return Study(folder / "study.db", SPACE, fingerprint, seed=seed)


def quality(settings: dict[str, Any]) -> float:
    """Of the learning rate alone, best at 0.01."""
    return math.exp(-abs(math.log10(settings["train.learning_rate"]) + 2))


def run(study: Study, trials: int) -> list[dict[str, Any]]:
    for _ in range(trials):
        _, settings = study.begin(GIVEN)
        study.report(0, quality(settings))
        study.end(COMPLETE)
    return [trial.settings for trial in study.trials]


def test_trial_0_has_what_is_given(tmp_path: Path) -> None:
    assert opened(tmp_path).begin(GIVEN) == (0, GIVEN)


def test_what_is_given_may_lie_outside_the_space(tmp_path: Path) -> None:
    study = opened(tmp_path)
    odd = {**GIVEN, "train.learning_rate": 3.0, "towers.text_start_share": 0.25}
    assert study.begin(odd) == (0, odd)
    study.report(0, 0.5)
    study.end(COMPLETE)
    assert study.trials[0].settings == odd
    for _ in range(12):
        _, settings = study.begin(odd)
        assert all(SPACE[key].holds(value) for key, value in settings.items())
        study.report(0, quality(settings))
        study.end(COMPLETE)


@pytest.mark.slow
def test_one_seed_draws_the_same_and_another_does_not(tmp_path: Path) -> None:
    folders = [tmp_path / name for name in "abc"]
    for folder in folders:
        folder.mkdir()
    first, again, other = (
        run(opened(folder, seed=seed), 14) for folder, seed in zip(folders, (7, 7, 8), strict=True)
    )
    assert first == again
    assert all(a != b for a, b in zip(first[1:], other[1:], strict=True))


@pytest.mark.parametrize("killed_at", [0, 1, 11])
def test_a_killed_trial_is_drawn_again_and_so_are_those_after_it(
    killed_at: int, tmp_path: Path
) -> None:
    (tmp_path / "a").mkdir(), (tmp_path / "b").mkdir()
    unbroken = run(opened(tmp_path / "a"), 13)
    study = opened(tmp_path / "b")
    run(study, killed_at)
    _, lost = study.begin(GIVEN)
    study.report(0, 0.9)
    resumed = opened(tmp_path / "b")
    assert len(resumed.trials) == killed_at
    found = run(resumed, 13 - killed_at)
    assert found == unbroken and found[killed_at] == lost


def test_what_is_drawn_gets_better(tmp_path: Path) -> None:
    study = opened(tmp_path)
    run(study, 30)
    rates = [trial.best_metric for trial in study.trials]
    assert sum(rates[-10:]) > sum(rates[1:11])


def test_a_trial_below_the_median_of_the_others_is_not_worth_going_on(tmp_path: Path) -> None:
    study = opened(tmp_path)
    for level in (0.2, 0.3, 0.4, 0.5, 0.6):
        study.begin(GIVEN)
        assert all(study.report(epoch, level) for epoch in range(4))
        study.end(COMPLETE)
    study.begin(GIVEN)
    assert [study.report(epoch, 0.35) for epoch in range(3)] == [True, True, False]
    study.end(PRUNED)
    study.begin(GIVEN)
    assert all(study.report(epoch, 0.45) for epoch in range(4))


def test_a_failed_trial_counts_but_is_never_the_best(tmp_path: Path) -> None:
    study = opened(tmp_path)
    run(study, 1)
    study.begin(GIVEN)
    study.report(0, 0.99)
    study.end(FAILED, "no number")
    assert [trial.state for trial in study.trials] == [COMPLETE, FAILED]
    assert study.trials[1].reason == "no number"
    assert study.best is not None and study.best.number == 0


def test_of_equal_trials_the_first_is_the_best(tmp_path: Path) -> None:
    study = opened(tmp_path)
    assert study.best is None
    for levels in ([0.1, 0.4, 0.4], [0.4], [0.1, 0.3]):
        study.begin(GIVEN)
        for epoch, level in enumerate(levels):
            study.report(epoch, level)
        study.end(COMPLETE)
    assert study.best is not None
    assert (study.best.number, study.best.best_metric, study.best.best_epoch) == (0, 0.4, 1)


@pytest.mark.slow
def test_importance_is_that_of_the_only_key_that_matters(tmp_path: Path) -> None:
    study = opened(tmp_path)
    run(study, 9)
    assert study.importance() == {}
    run(study, 16)
    importance = study.importance()
    assert set(importance) == set(SPACE) and sum(importance.values()) == pytest.approx(1.0)
    assert importance["train.learning_rate"] > 0.8


def test_there_is_no_importance_where_nothing_differs(tmp_path: Path) -> None:
    study = opened(tmp_path)
    for _ in range(11):
        study.begin(GIVEN)
        study.report(0, 0.5)
        study.end(COMPLETE)
    assert study.importance() == {}


def test_a_study_of_something_else_is_refused(tmp_path: Path) -> None:
    run(opened(tmp_path), 1)
    with pytest.raises(CheckpointError, match="another configuration, search space or other data"):
        opened(tmp_path, fingerprint="b")


def test_a_file_that_is_no_study_is_refused(tmp_path: Path) -> None:
    (tmp_path / "study.db").write_bytes(b"nothing" * 100)
    with pytest.raises(CorruptFileError, match="not the study that was written"):
        opened(tmp_path)


def test_a_folder_may_have_any_name(tmp_path: Path) -> None:
    folder = tmp_path / "what? 50%20#1 研究"
    folder.mkdir()
    run(opened(folder), 1)
    assert [path.name for path in folder.iterdir()] == ["study.db"]
    assert len(opened(folder).trials) == 1


def test_without_optuna_the_error_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "optuna", None)
    with pytest.raises(MissingPackageError, match=r"pip install 'tfrec_llm\[tune\]'"):
        optuna_package()
