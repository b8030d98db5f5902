"""The trials of a search for settings, kept by optuna so that a killed search can go on."""

from __future__ import annotations

import importlib
import math
import sqlite3
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tfrec_llm.config.search_space import Range, SearchSpace
from tfrec_llm.errors import CheckpointError, CorruptFileError, MissingPackageError
from tfrec_llm.seeds import child_seed

STUDY_FILE = "study.db"
COMPLETE, PRUNED, FAILED = "complete", "pruned", "failed"

_NAME = "tune"
_TRIALS_BEFORE_PRUNING = 5
_EPOCHS_BEFORE_PRUNING = 2
_TRIALS_BEFORE_IMPORTANCE = 10


@dataclass(frozen=True)
class Trial:
    """A trial that is over.

    Attributes:
        number: int, 0 for the configuration as it was given.
        state: `complete`, `pruned` (stopped early) or `failed`.
        settings: dotted key → value.
        metrics: validation NDCG@10 of epoch 0, 1, 2 …
        seconds: float, wall-clock.
        reason: str, why it failed.
    """

    number: int
    state: str
    settings: dict[str, Any]
    metrics: list[float]
    seconds: float
    reason: str = ""

    @property
    def best_metric(self) -> float:
        """The best validation NDCG@10 of its epochs; NaN when there is none."""
        return max(self.metrics, default=math.nan)

    @property
    def best_epoch(self) -> int | None:
        """The first epoch with it."""
        return self.metrics.index(self.best_metric) if self.metrics else None


class Study:
    """A search on disk, one trial after the other.

    Trial 0 has the given settings; the following ones are drawn by a tree-structured Parzen
    estimator. Each has a seed of its own, so what is drawn depends on the trials that are over
    and on nothing else: a search that was killed draws the same again. A trial is to be stopped
    when its best NDCG@10 so far is below the median of the others at that epoch.

    Args:
        path: the sqlite file; made if missing.
        space: what may be tried.
        fingerprint: str, hash of all that trials depend on but their settings.
        seed: int.

    Raises:
        MissingPackageError: when optuna is not installed.
        CheckpointError: when the file belongs to another search.
        CorruptFileError: when the file is no study.

    Example:
        >>> import tempfile
        >>> space = {"towers.dropout": Range(0.0, 0.5)}
        >>> study = Study(Path(tempfile.mkdtemp()) / "study.db", space, "", seed=7)
        >>> number, settings = study.begin({"towers.dropout": 0.3})
        >>> _ = study.report(0, 0.1)
        >>> study.end(COMPLETE)
        >>> study.best.best_metric
        0.1

    Reference: Bergstra et al., 2011, Algorithms for Hyper-Parameter Optimization; Akiba et al.,
    2019, doi:10.1145/3292500.3330701
    """

    def __init__(self, path: Path, space: SearchSpace, fingerprint: str, *, seed: int) -> None:
        optuna = optuna_package()
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        self._optuna, self._space, self._seed = optuna, space, seed
        try:
            # By a function: a path may hold what means something else in a URL.
            storage = optuna.storages.RDBStorage(
                "sqlite:///study.db", engine_kwargs={"creator": lambda: sqlite3.connect(path)}
            )
            self._study = optuna.create_study(
                storage=storage,
                study_name=_NAME,
                direction="maximize",
                load_if_exists=True,
                pruner=optuna.pruners.MedianPruner(
                    n_startup_trials=_TRIALS_BEFORE_PRUNING, n_warmup_steps=_EPOCHS_BEFORE_PRUNING
                ),
            )
        except Exception as error:
            if isinstance(error.__cause__, sqlite3.DatabaseError):
                raise CorruptFileError(
                    f"{path} is not the study that was written ({error.__cause__}). Give another "
                    "--out folder."
                ) from error
            raise
        if self._study.user_attrs.get("fingerprint", fingerprint) != fingerprint:
            raise CheckpointError(
                f"{path} was begun with another configuration, search space or other data. Use a "
                "new --out folder, or what it was begun with."
            )
        self._study.set_user_attr("fingerprint", fingerprint)
        self._running: Any = None
        self._began = 0.0
        self._metrics: list[float] = []
        state = optuna.trial.TrialState
        for killed in self._study.get_trials(deepcopy=False, states=(state.RUNNING,)):
            self._study.tell(killed.number, state=state.FAIL)  # drawn again, as a new one

    @property
    def trials(self) -> list[Trial]:
        """The trials that are over, in their order; what was killed is not among them."""
        state = self._optuna.trial.TrialState
        over = self._study.get_trials(deepcopy=False, states=(state.COMPLETE, state.PRUNED))
        return [
            Trial(
                number,
                trial.user_attrs["state"],
                trial.user_attrs["settings"],
                [metric for _, metric in sorted(trial.intermediate_values.items())],
                trial.user_attrs["seconds"],
                trial.user_attrs["reason"],
            )
            for number, trial in enumerate(over)
        ]

    @property
    def best(self) -> Trial | None:
        """The complete trial with the highest NDCG@10, the first of equals; None without any."""
        complete = [trial for trial in self.trials if trial.state == COMPLETE]
        return max(complete, key=lambda trial: trial.best_metric, default=None)

    def begin(self, given: dict[str, Any]) -> tuple[int, dict[str, Any]]:
        """Begins a trial.

        Args:
            given: dotted key → value of the configuration, the settings of trial 0.

        Returns: its number, and its settings.
        """
        number = len(self.trials)
        inside = {key: v for key, v in given.items() if self._space[key].holds(v)}
        waiting = self._study.get_trials(
            deepcopy=False, states=(self._optuna.trial.TrialState.WAITING,)
        )
        if number == 0 and not waiting:
            self._study.enqueue_trial(inside)
        self._study.sampler = self._optuna.samplers.TPESampler(
            seed=child_seed(self._seed, "trial", number)
        )
        self._running, self._began, self._metrics = self._study.ask(), time.monotonic(), []
        # What is given may lie outside the space. The search then learns nothing from it there.
        keys = self._space if number else inside
        settings = {**given, **{key: self._suggest(key) for key in keys}}
        self._running.set_user_attr("settings", settings)
        return number, settings

    def report(self, epoch: int, metric: float) -> bool:
        """Takes the NDCG@10 of an epoch of the trial that was begun.

        Returns: whether the trial is worth going on with.
        """
        self._metrics.append(metric)
        self._running.report(metric, epoch)
        return not self._running.should_prune()

    def end(self, state: str, reason: str = "") -> None:
        """Ends the trial that was begun.

        Args:
            state: `complete`, `pruned` or `failed`.
            reason: why it failed.
        """
        self._running.set_user_attr("state", state)
        self._running.set_user_attr("reason", reason)
        self._running.set_user_attr("seconds", round(time.monotonic() - self._began, 2))
        if state == COMPLETE:
            self._study.tell(self._running, max(self._metrics))
        else:  # a failed one counts as pruned, so that the search keeps away from there
            self._study.tell(self._running, state=self._optuna.trial.TrialState.PRUNED)

    def importance(self) -> dict[str, float]:
        """Returns how much of the spread of NDCG@10 each key explains, the largest share first.

        The shares sum to 1. Empty before ten trials are complete, and where all came to the same.

        Reference: Hutter et al., 2014, An Efficient Approach for Assessing Hyperparameter
        Importance
        """
        complete = self._study.get_trials(
            deepcopy=False, states=(self._optuna.trial.TrialState.COMPLETE,)
        )
        whole = [trial for trial in complete if set(trial.params) == set(self._space)]
        if len(whole) < _TRIALS_BEFORE_IMPORTANCE or len({trial.value for trial in whole}) == 1:
            return {}
        evaluator = self._optuna.importance.FanovaImportanceEvaluator(seed=self._seed)
        shares = self._optuna.importance.get_param_importances(
            self._study, evaluator=evaluator, params=list(self._space)
        )
        return {key: float(share) for key, share in shares.items()}

    def _suggest(self, key: str) -> Any:
        choice = self._space[key]
        if not isinstance(choice, Range):
            return self._running.suggest_categorical(key, choice.values)
        if choice.whole:
            low, high = int(choice.low), int(choice.high)
            return self._running.suggest_int(key, low, high, log=choice.log)
        return self._running.suggest_float(key, choice.low, choice.high, log=choice.log)


def optuna_package() -> Any:
    """Returns optuna, or says how to install it.

    Raises: MissingPackageError when it is not installed.

    Example:
        >>> optuna_package().__name__
        'optuna'
    """
    try:
        return importlib.import_module("optuna")
    except ModuleNotFoundError as error:
        if error.name != "optuna":
            raise
        raise MissingPackageError("optuna", "The search for settings", "tune") from error
