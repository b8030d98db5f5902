"""A configuration → the settings near it that do best on validation."""

from __future__ import annotations

import contextlib
import hashlib
import json
import shutil
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tfrec_llm.config.run_config import RunConfig
from tfrec_llm.config.search_space import (
    SearchSpace,
    default_search_space,
    plain,
    setting,
    with_settings,
)
from tfrec_llm.errors import DivergedError, InputError, TfrecLlmError, UsageError
from tfrec_llm.files import locked
from tfrec_llm.progress import Progress, Silent
from tfrec_llm.workflows.study import (
    COMPLETE,
    FAILED,
    PRUNED,
    STUDY_FILE,
    Study,
    Trial,
    optuna_package,
)
from tfrec_llm.workflows.study_files import BEST_FILE, REPORT_FILE, write_study_files

if TYPE_CHECKING:
    from tfrec_llm.workflows.build import Prepared

Prepare = Callable[[RunConfig], "Prepared"]


def tune(
    config: RunConfig,
    out: str | Path,
    *,
    trials: int,
    space: SearchSpace | None = None,
    timeout_seconds: float | None = None,
    resume: bool = False,
    progress: Progress | None = None,
) -> dict[str, Any]:
    """Searches settings by training on the training part and measuring on validation.

    Trial 0 is the configuration as given, so the best is never worse than that on validation.
    Nothing is refitted and the test set is not read. Trials that do worse than the median of the
    others are stopped early. After each trial `best.yaml`, `trials.csv` and `report.md` are
    written anew. A search that was killed goes on with `resume=True`: trials that are over count,
    and the one in work is done again.

    Args:
        config: the run; its `train.seed` is also the seed of the search.
        out: the study folder; must be new or empty, unless `resume`.
        trials: int, how many in all, trial 0 and those of before a resume among them.
        space: key → values to try. Defaults to `default_search_space(config)`.
        timeout_seconds: float, no trial begins later than that; the one in work is ended, and
            trial 0 is always done. Defaults to no limit.
        resume: bool.
        progress: listener.

    Returns: JSON values: `study`, `trials` (number of each state), `best` (`trial`,
        `validation_ndcg@10`, `settings`), `given` (`validation_ndcg@10` of trial 0),
        `best_config` and `report` (paths), `importance` (key → share) and `seconds`.

    Raises:
        UsageError: when `out` holds a study already, `trials` is below 1, or several workers are
            asked for.
        MissingPackageError: when optuna is not installed.
        DataError: when the tables cannot be used.
        CheckpointError: when `resume` meets a study of another configuration, space or data.
        TfrecLlmError: when no trial came to its end.
    """
    if trials < 1:
        raise UsageError(f"trials is {trials}. Ask for one trial or more.")
    if config.train.strategy == "multi_worker":
        raise UsageError(
            "A search trains in one process. Set train.strategy to none or mirrored for it, and "
            "to multi_worker in the configuration that it recommends."
        )
    began = time.monotonic()
    progress = progress or Silent()
    space = default_search_space(config) if space is None else space
    optuna_package()
    folder = _open_folder(out, resume=resume)

    # Here, not above: what is wrong with the arguments is told before TensorFlow is loaded.
    from tfrec_llm.workflows.build import read_dataset
    from tfrec_llm.workflows.train import tell_of_rejected_rows
    from tfrec_llm.workflows.training_fingerprint import training_fingerprint

    with locked(folder / ".lock"):
        _open_folder(out, resume=resume)  # another process may have been first
        dataset = read_dataset(config.data)
        tell_of_rejected_rows(dataset, progress)
        prepare = _prepare_once(dataset, progress)
        # Before there is a study: what cannot be trained leaves the folder empty.
        num_cases = len(prepare(config).split.validation)
        study = Study(
            folder / STUDY_FILE,
            space,
            _hash([training_fingerprint(config, dataset), plain(space)]),
            seed=config.train.seed,
        )
        data = f"{dataset.name}, {num_cases} validation cases"
        given = {key: setting(config, key) for key in space}
        done = study.trials
        if done:
            progress.message(f"{folder} has {len(done)} trials, of {trials}")
        while (number := len(done)) < trials:
            if number and _is_over(began, timeout_seconds):
                progress.message(f"time is up after {number} of {trials} trials")
                break
            _run_trial(config, given, study, prepare, folder / ".trial", progress)
            done = study.trials
            write_study_files(folder, study, config, space, data)
            progress.message(_told(done[-1], study.best))
            progress.advance("trials", len(done), trials)
        write_study_files(folder, study, config, space, data)
        return _summary(folder, study, began)


def _open_folder(out: str | Path, *, resume: bool) -> Path:
    folder = Path(out).expanduser()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        content = {path.name for path in folder.iterdir()} - {".lock", ".trial"}
        (folder / ".lock").touch()
    except (FileExistsError, NotADirectoryError, PermissionError) as error:
        raise UsageError(
            f"{folder} cannot be used as a study folder: {error.strerror}. Give another --out."
        ) from error
    if content and not resume:
        raise UsageError(
            f"{folder} is not empty. Give another --out folder, delete this one, or go on with the "
            "study in it: --resume."
        )
    if content and STUDY_FILE not in content:
        raise UsageError(
            f"{folder} holds other things than a study (no {STUDY_FILE}), so there is nothing to "
            "resume. Give the folder of a study, or a new one."
        )
    return folder


def _prepare_once(dataset: Any, progress: Progress) -> Prepare:
    """Returns a function that prepares the data of a run, anew only for another text or encoder."""
    from tfrec_llm.workflows.build import prepare

    kept: dict[str, Prepared] = {}

    def prepared(config: RunConfig) -> Prepared:
        key = _hash(config.model_dump(mode="json", include={"text", "encoder"}))
        if key not in kept:
            kept.clear()  # the features of one encoder at a time are in memory
            kept[key] = prepare(config, dataset, progress=progress)
        return kept[key]

    return prepared


def _run_trial(
    config: RunConfig,
    given: dict[str, Any],
    study: Study,
    prepare: Prepare,
    scratch: Path,
    progress: Progress,
) -> None:
    """Trains one trial and tells the study how it ended."""
    from tfrec_llm.workflows.train import select

    number, settings = study.begin(given)
    has_promise = True

    def after_epoch(epoch: int, metric: float) -> bool:
        nonlocal has_promise
        has_promise = study.report(epoch, metric)
        return has_promise

    with _empty_folder(scratch):
        try:
            trial_config = with_settings(config, settings, f"trial {number}")
            select(
                trial_config,
                prepare(trial_config),
                scratch,
                after_epoch=after_epoch,
                progress=_OfTrial(number, progress),
            )
        except (DivergedError, InputError) as error:  # settings that do not go, or not together
            if number == 0 and isinstance(error, InputError):
                raise  # what was given does not go at all
            study.end(FAILED, str(error))
        else:
            study.end(COMPLETE if has_promise else PRUNED)


@contextlib.contextmanager
def _empty_folder(path: Path) -> Iterator[None]:
    shutil.rmtree(path, ignore_errors=True)  # of a trial that was killed
    path.mkdir()
    try:
        yield
    finally:
        shutil.rmtree(path, ignore_errors=True)


class _OfTrial:
    """Passes on what a trial says; its steps are too many to show."""

    def __init__(self, number: int, progress: Progress) -> None:
        self._number, self._progress = number, progress

    def message(self, text: str) -> None:
        self._progress.message(f"trial {self._number}: {text.removeprefix('select: ')}")

    def advance(self, task: str, done: int, total: int, note: str = "") -> None:
        pass


def _told(trial: Trial, best: Trial | None) -> str:
    how = f", validation NDCG@10 {trial.best_metric:.4f}" if trial.metrics else ""
    why = f": {trial.reason}" if trial.reason else ""
    so_far = f"; best so far: trial {best.number}, {best.best_metric:.4f}" if best else ""
    return f"trial {trial.number} {trial.state}{how}{why}{so_far}"


def _summary(folder: Path, study: Study, began: float) -> dict[str, Any]:
    done, best = study.trials, study.best
    if best is None:
        raise TfrecLlmError(
            f"None of the {len(done)} trials in {folder} came to its end: {done[-1].reason} See "
            "trials.csv there; go on with more trials by --resume, or start from another "
            "configuration."
        )
    counts = Counter(trial.state for trial in done)
    return {
        "study": str(folder),
        "trials": {state: counts[state] for state in (COMPLETE, PRUNED, FAILED)},
        "best": {
            "trial": best.number,
            "validation_ndcg@10": best.best_metric,
            "settings": best.settings,
        },
        "given": {"validation_ndcg@10": done[0].best_metric if done[0].metrics else None},
        "best_config": str(folder / BEST_FILE),
        "report": str(folder / REPORT_FILE),
        "importance": study.importance(),
        "seconds": round(time.monotonic() - began, 1),
    }


def _is_over(began: float, timeout_seconds: float | None) -> bool:
    return timeout_seconds is not None and time.monotonic() - began >= timeout_seconds


def _hash(value: Any) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()
