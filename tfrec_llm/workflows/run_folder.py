"""The folder of a run: what lies where, and whether it may be written."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from tfrec_llm.config.load import load_config
from tfrec_llm.config.run_config import RunConfig
from tfrec_llm.errors import CorruptFileError, UsageError
from tfrec_llm.files import atomic_file

TRAINING_FILE = "training.json"
FINGERPRINT_FILE = "checkpoints/fingerprint.json"


class RunFolder:
    """A run on disk.

    Args:
        path: the folder.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)

    @classmethod
    def open_for_training(cls, path: str | Path, *, resume: bool) -> RunFolder:
        """Opens a folder to train into, before any long work.

        Raises: UsageError when it holds something and `resume` is false, or cannot be written.
        """
        run = cls(path)
        try:
            run.path.mkdir(parents=True, exist_ok=True)
            content = {p.name for p in run.path.iterdir() if not p.name.startswith(".")}
            if resume and content and "config.yaml" not in content:
                raise UsageError(
                    f"{run.path} holds other things than a run (no config.yaml), so there is "
                    "nothing to resume. Give the folder of a run, or a new one."
                )
            if not resume and any(p.name != ".lock" for p in run.path.iterdir()):
                raise UsageError(
                    f"{run.path} is not empty. Give another --out folder, delete this one, or go "
                    "on with the training in it: --resume."
                )
            probe = run.path / ".lock"
            probe.touch()
        except (FileExistsError, NotADirectoryError, PermissionError) as error:
            raise UsageError(
                f"{run.path} cannot be used as a run folder: {error.strerror}. Give another --out."
            ) from error
        return run

    @classmethod
    def open_trained(cls, path: str | Path) -> RunFolder:
        """Opens the folder of a finished training.

        Raises: UsageError when there is none.
        """
        run = cls(path)
        if not run.path.is_dir():
            raise UsageError(f"There is no run folder {run.path}.")
        if run.training is None:
            raise UsageError(
                f"{run.path} holds no finished training (no {TRAINING_FILE}). Train first, or go "
                "on with a training that was stopped: tfrec-llm train CONFIG.yaml --out "
                f"{run.path} --resume"
            )
        return run

    @property
    def model(self) -> Path:
        """Where the trained model lies."""
        return self.path / "model"

    @property
    def config(self) -> RunConfig:
        """The resolved configuration of the run."""
        return load_config(self.path / "config.yaml")

    @property
    def training(self) -> dict[str, Any] | None:
        """The summary of the training, None before it is finished."""
        return self.read_json(TRAINING_FILE)

    @property
    def fingerprint(self) -> str | None:
        """Hash of the configuration and data that the training began with, if it began."""
        begun = self.read_json(FINGERPRINT_FILE) or self.training
        return None if begun is None else str(begun.get("fingerprint"))

    def read_json(self, name: str) -> dict[str, Any] | None:
        """Reads a JSON file of the run, None if there is none.

        Raises: CorruptFileError when it is not what was written.
        """
        path = self.path / name
        if not path.is_file():
            return None
        try:
            content = json.loads(path.read_text(encoding="utf-8"))
        except ValueError as error:
            raise corrupt_file(path, str(error)) from error
        if not isinstance(content, dict):
            raise corrupt_file(path, "it holds no object")
        return content

    def write_json(self, name: str, content: dict[str, Any]) -> None:
        """Writes a JSON file of the run, whole or not at all."""
        with atomic_file(self.path / name) as temporary:
            temporary.write_text(
                json.dumps(content, indent=1, ensure_ascii=False, allow_nan=False) + "\n",
                encoding="utf-8",
            )


def corrupt_file(path: Path, reason: str) -> CorruptFileError:
    """Returns the error of a JSON file of a run that is not what was written."""
    return CorruptFileError(
        f"{path} is not the JSON that was written ({reason}). Delete it; `tfrec-llm train … "
        "--resume` or `tfrec-llm evaluate` writes it anew."
    )
