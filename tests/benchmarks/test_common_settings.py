from __future__ import annotations

from pathlib import Path

import common_settings
import pytest

from tfrec_llm.config.load import load_config
from tfrec_llm.config.load_search_space import load_search_space
from tfrec_llm.errors import DataError
from tfrec_llm.workflows.study import Study
from tfrec_llm.workflows.study_files import write_study_files

SPACE = Path(common_settings.__file__).with_name("defaults_space.yaml")


def study(folder: Path, metrics: list[float], *, seed: int = 7, stopped: int = -1) -> Path:
    """A study of trials with these NDCG@10, as `tune` would have left it."""
    folder.mkdir()
    config = load_config(SPACE.with_name("configs") / "bookshop.yaml", [])
    space = load_search_space(SPACE, config)
    kept = Study(folder / "study.db", space, "", seed=seed)
    for number, metric in enumerate(metrics):
        kept.begin({key: 0.5 for key in space})
        kept.report(0, metric)
        kept.end("pruned" if number == stopped else "complete")
    write_study_files(folder, kept, config, space, "a shop")
    return folder


def test_trials_are_judged_by_the_geometric_mean_of_their_ratios_to_the_defaults(
    tmp_path: Path,
) -> None:
    folders = [study(tmp_path / "a", [0.1, 0.2, 0.05]), study(tmp_path / "b", [0.02, 0.04, 0.08])]
    trials = common_settings.common_trials(folders)
    assert [trial.ratios for trial in trials] == [[1.0, 1.0], [2.0, 2.0], [0.5, 4.0]]
    assert trials[2].mean == pytest.approx(2.0**0.5)
    rows = common_settings.table(trials, ["a", "b"]).splitlines()[2:]
    assert [row.split(" | ")[0] for row in rows] == ["| 1", "| 2", "| 0, the defaults"]


def test_settings_may_be_names_and_nothing() -> None:
    settings = {"towers.history": "gru", "train.batch_size": "null", "towers.dropout": "0.12345"}
    trial = common_settings.CommonTrial(0, settings, [1.0])
    row = common_settings.table([trial], ["a"]).splitlines()[-1]
    assert row == "| 0, the defaults | gru | null | 0.123 | 1.000 | 1.000 |"


def test_a_trial_that_was_stopped_on_one_set_is_no_candidate(tmp_path: Path) -> None:
    folders = [study(tmp_path / "a", [0.1, 0.2], stopped=1), study(tmp_path / "b", [0.1, 0.2])]
    trials = common_settings.common_trials(folders)
    assert trials[1].ratios == [None, 2.0] and trials[1].mean is None
    assert common_settings.table(trials, ["a", "b"]).splitlines()[-1].endswith("| 2.000 | – |")


def test_only_trials_that_all_studies_have_are_compared(tmp_path: Path) -> None:
    folders = [study(tmp_path / "a", [0.1, 0.2]), study(tmp_path / "b", [0.1])]
    assert [trial.number for trial in common_settings.common_trials(folders)] == [0]


def test_studies_with_other_settings_are_told_apart(tmp_path: Path) -> None:
    folders = [study(tmp_path / "a", [0.1, 0.2]), study(tmp_path / "b", [0.1, 0.2], seed=8)]
    with pytest.raises(DataError, match="trial 1: .*one space and one train.seed"):
        common_settings.common_trials(folders)


def test_ten_trials_are_drawn_alike_whatever_they_bring(tmp_path: Path) -> None:
    metrics = [0.1 + 0.01 * (number % 3) for number in range(10)]
    folders = [study(tmp_path / "a", metrics), study(tmp_path / "b", metrics[::-1])]
    assert len(common_settings.common_trials(folders)) == 10


@pytest.mark.parametrize("text", ["", "trial,validation_ndcg@10\n0,0.0\n"])
def test_a_folder_without_a_measured_trial_is_refused(text: str, tmp_path: Path) -> None:
    (tmp_path / "trials.csv").write_text(text)
    with pytest.raises(DataError, match="trials.csv"):
        common_settings.common_trials([tmp_path])
