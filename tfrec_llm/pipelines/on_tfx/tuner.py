"""TFX's Tuner speaks KerasTuner; here it tries the settings that `tfrec-llm tune` tries.

Each trial trains on the training part and is measured on validation, by the function that `tune`
calls too. What draws the settings is KerasTuner's Bayesian optimisation.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import keras_tuner
from tfx.v1.components import TunerFnResult

from tfrec_llm.config.run_config import RunConfig
from tfrec_llm.config.search_space import (
    Range,
    SearchSpace,
    default_search_space,
    setting,
    with_settings,
)
from tfrec_llm.data.schema import Dataset
from tfrec_llm.errors import DivergedError
from tfrec_llm.workflows.build import Prepared, prepare
from tfrec_llm.workflows.train import select

OBJECTIVE = "validation_ndcg@10"


def tuner_result(config: RunConfig, dataset: Dataset, folder: Path, trials: int) -> Any:
    """Returns the tuner and its arguments, as TFX's Tuner takes them.

    Args:
        config: the run; its settings are those of the first trial.
        dataset: the tables.
        folder: gets the trials.
        trials: int >= 1.
    """
    return TunerFnResult(
        tuner=SettingsTuner(config, dataset, folder, trials, default_search_space(config)),
        fit_kwargs={},
    )


class SettingsTuner(keras_tuner.engine.base_tuner.BaseTuner):
    """Searches settings of a run.

    Args:
        config: the run; its settings are those of the first trial.
        dataset: the tables.
        folder: gets the trials.
        trials: int >= 1, how many.
        space: what may be tried.
    """

    def __init__(
        self, config: RunConfig, dataset: Dataset, folder: Path, trials: int, space: SearchSpace
    ) -> None:
        self._config, self._dataset, self._space = config, dataset, space
        self._prepared: Prepared | None = None
        self._is_first = True
        oracle = keras_tuner.oracles.BayesianOptimizationOracle(
            objective=keras_tuner.Objective(OBJECTIVE, "max"),
            max_trials=trials,
            hyperparameters=hyperparameters_of(space, config),
            seed=config.train.seed,
        )
        super().__init__(oracle=oracle, directory=str(folder), project_name="tuner", overwrite=True)

    def run_trial(self, trial: Any, *_: Any, **__: Any) -> dict[str, float]:
        """Trains with the settings of a trial, and measures them on validation.

        Args:
            trial: KerasTuner's trial.

        Returns: `validation_ndcg@10`, 0 where the training diverged.
        """
        if self._is_first:  # what was given is tried too, so the best is never worse
            given = hyperparameters_of(self._space, self._config).values
            trial.hyperparameters.values = dict(given)
            self._is_first = False
        settings = settings_of(trial.hyperparameters.values)
        config = with_settings(self._config, settings, f"trial {trial.trial_id}")
        if self._prepared is None:  # no setting that is tried changes texts or encoder
            self._prepared = prepare(config, self._dataset)
        scratch = Path(self.get_trial_dir(trial.trial_id)) / "run"
        scratch.mkdir(parents=True)
        try:
            return {OBJECTIVE: select(config, self._prepared, scratch).best_metric}
        except DivergedError:
            return {OBJECTIVE: 0.0}
        finally:
            shutil.rmtree(scratch)


def hyperparameters_of(space: SearchSpace, config: RunConfig) -> Any:
    """Returns KerasTuner's form of a search space, with the settings of a run as defaults.

    Args:
        space: what may be tried.
        config: the run.

    Returns: `keras_tuner.HyperParameters`; values of a list of choices are JSON.
    """
    found = keras_tuner.HyperParameters()
    for key, choice in space.items():
        given = setting(config, key)
        if isinstance(choice, Range):
            add = found.Int if choice.whole else found.Float
            sampling = "log" if choice.log else "linear"
            add(key, choice.low, choice.high, sampling=sampling, default=given)
        else:
            values = [json.dumps(value) for value in choice.values]
            found.Choice(key, values, default=json.dumps(given))
    return found


def settings_of(values: Mapping[str, Any]) -> dict[str, Any]:
    """Returns the settings that KerasTuner's values stand for.

    Args:
        values: of `HyperParameters`, as `hyperparameters_of` made them.
    """
    return {k: json.loads(v) if isinstance(v, str) else v for k, v in values.items()}
