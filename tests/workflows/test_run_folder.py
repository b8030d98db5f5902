from __future__ import annotations

import os
from pathlib import Path

import pytest

from tfrec_llm.errors import CorruptFileError, UsageError
from tfrec_llm.workflows.run_folder import FINGERPRINT_FILE, TRAINING_FILE, RunFolder


def test_a_new_or_empty_folder_is_taken(tmp_path: Path) -> None:
    for resume in (False, True):
        path = tmp_path / "a" / str(resume)
        assert RunFolder.open_for_training(path, resume=resume).path == path
        RunFolder.open_for_training(path, resume=resume)  # only a lock file is in it
        assert os.listdir(path) == [".lock"]


def test_a_folder_in_use_is_taken_only_to_resume(tmp_path: Path) -> None:
    (tmp_path / "config.yaml").write_text("x")
    with pytest.raises(UsageError, match="not empty.*--resume"):
        RunFolder.open_for_training(tmp_path, resume=False)
    RunFolder.open_for_training(tmp_path, resume=True)


def test_a_folder_of_other_things_is_not_resumed(tmp_path: Path) -> None:
    (tmp_path / "letter.txt").write_text("x")
    with pytest.raises(UsageError, match="nothing to resume"):
        RunFolder.open_for_training(tmp_path, resume=True)
    assert os.listdir(tmp_path) == ["letter.txt"]


def test_a_file_is_no_folder(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("x")
    for path in (tmp_path / "a", tmp_path / "a" / "b"):
        with pytest.raises(UsageError, match="cannot be used as a run folder"):
            RunFolder.open_for_training(path, resume=False)


def test_only_a_finished_training_is_opened(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="There is no run folder"):
        RunFolder.open_trained(tmp_path / "nix")
    with pytest.raises(UsageError, match="no finished training"):
        RunFolder.open_trained(tmp_path)
    RunFolder(tmp_path).write_json(TRAINING_FILE, {"data": {}})
    assert RunFolder.open_trained(tmp_path).training == {"data": {}}


@pytest.mark.parametrize("content", ["", "{", "[1]", "null"])
def test_a_file_that_was_changed_is_named(content: str, tmp_path: Path) -> None:
    (tmp_path / TRAINING_FILE).write_text(content)
    with pytest.raises(CorruptFileError, match=r"training\.json"):
        RunFolder.open_trained(tmp_path)


def test_the_fingerprint_is_that_of_the_beginning(tmp_path: Path) -> None:
    run = RunFolder(tmp_path)
    assert run.fingerprint is None
    run.write_json(TRAINING_FILE, {"fingerprint": "a run of an older version"})
    assert run.fingerprint == "a run of an older version"
    run.write_json(FINGERPRINT_FILE, {"fingerprint": "b"})
    assert run.fingerprint == "b"


def test_no_json_holds_what_json_does_not_know(tmp_path: Path) -> None:
    with pytest.raises(ValueError):
        RunFolder(tmp_path).write_json("a.json", {"x": float("nan")})
    assert os.listdir(tmp_path) == []
