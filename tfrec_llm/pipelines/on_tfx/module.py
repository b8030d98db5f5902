"""The functions that Transform, Trainer and Tuner call: this package's own training and export.

What they are told comes in `custom_config`:

- `config`: JSON of the run, see `config_to_text`; the YAML of `tfrec-llm train`.
- `distribution_strategy`: value of `train.strategy`; optional.
- `run_folder`: where the run lies; optional. TFX removes what a failed Trainer wrote, so that only
  a run in a folder of one's own can go on after a failure.
"""

from __future__ import annotations

import contextlib
import logging
from pathlib import Path
from typing import Any

from tfrec_llm.config.run_config import RunConfig
from tfrec_llm.data.schema import Dataset
from tfrec_llm.errors import UsageError
from tfrec_llm.files import locked
from tfrec_llm.keras_api import tf
from tfrec_llm.pipelines.on_tfx.examples import dataset_of_patterns
from tfrec_llm.pipelines.pipeline_config import config_from_text
from tfrec_llm.pipelines.remote_files import copy_folder, is_remote, local_output
from tfrec_llm.serving.versions import versions
from tfrec_llm.text.cleaning import clean_text
from tfrec_llm.text.stop_words import load_stop_words
from tfrec_llm.workflows.export import export
from tfrec_llm.workflows.run_folder import RunFolder
from tfrec_llm.workflows.train import train_dataset
from tfrec_llm.workflows.training_fingerprint import training_fingerprint

RUN, EXPORT = "run", "export"


class LogProgress:
    """Passes progress on to the log of the pipeline."""

    def message(self, text: str) -> None:
        """Logs the line."""
        logging.getLogger("tfrec_llm").info(text)

    def advance(self, task: str, done: int, total: int, note: str = "") -> None:
        """Ignores the state: steps are too many for a log."""


def preprocessing_fn(
    inputs: dict[str, Any], custom_config: dict[str, Any] | None = None
) -> dict[str, Any]:
    """Cleans texts in the graph, as the model will clean them; ids, times and numbers pass.

    Ids become vocabulary-free strings of the model, so nothing is analysed over the data.

    Args:
        inputs: feature → tensor `(batch, 1)`, or sparse where a value may be missing.
        custom_config: `config`, see above.

    Returns: feature → dense tensor `(batch, 1)`; missing strings are "".

    Raises: UsageError when a feature that is no text may be missing.
    """
    config = _config(custom_config)
    columns = config.data.columns
    ids = {columns.item_id, columns.user_id, columns.timestamp or "timestamp"}
    named = {*(columns.item_text or ()), *(columns.user_text or ())}
    outputs = {}
    for name, values in inputs.items():
        values = _dense(name, values)
        is_text = name in named if named else values.dtype == tf.string
        if is_text and name not in ids and values.dtype == tf.string:
            stop_words = _stop_words(config)
            values = clean_text(values, level=config.text.clean, stop_words=stop_words)
        outputs[name] = values
    return outputs


def run_fn(fn_args: Any) -> None:
    """Trains and exports: the tables, the run and the SavedModel are those of the package.

    The split of the tables into training, validation and test is the package's: by time, for each
    user. Nothing of the test stands in a history that is trained on.

    Args:
        fn_args: TFX's `FnArgs`; the examples of all tables are its `train_files`.

    Raises: TfrecLlmError of every kind that training and export raise.
    """
    progress = LogProgress()
    config = _config(fn_args.custom_config, _best_settings(fn_args))
    dataset = _dataset(fn_args, config)
    with contextlib.ExitStack() as stack:
        run = _open_run(fn_args, config, dataset, stack)
        with locked(run.path / ".lock"):
            train_dataset(config, dataset, run, resume=True, progress=progress)
            exports = run.path / EXPORT
            if not versions(exports):
                export(run.path, exports, progress=progress)
        newest = exports / str(versions(exports)[-1])
        with local_output(fn_args.serving_model_dir) as folder:
            copy_folder(newest, folder)
        progress.message(f"trained {run.path}, exported {fn_args.serving_model_dir}")


def tuner_fn(fn_args: Any) -> Any:
    """Returns a tuner that searches as `tfrec-llm tune` does: on validation, the test set unread.

    `custom_config` takes `trials` (int, default 10) beside the keys above.

    Args:
        fn_args: TFX's `FnArgs`.

    Returns: TFX's `TunerFnResult`; the best settings reach `run_fn` as hyperparameters.
    """
    from tfrec_llm.pipelines.on_tfx.tuner import tuner_result

    config = _config(fn_args.custom_config)
    trials = int((fn_args.custom_config or {}).get("trials", 10))
    return tuner_result(config, _dataset(fn_args, config), Path(fn_args.working_dir), trials)


def _config(custom_config: dict[str, Any] | None, best: dict[str, Any] | None = None) -> RunConfig:
    custom_config = custom_config or {}
    if "config" not in custom_config:
        raise UsageError(
            "custom_config has no `config`. Make it with tfrec_llm.pipelines.pipeline_config."
            "config_to_text(load_config('run.yaml')), as create_pipeline does."
        )
    changes = dict(best or {})
    if custom_config.get("distribution_strategy") is not None:
        changes["train.strategy"] = custom_config["distribution_strategy"]
    return config_from_text(custom_config["config"], changes)


def _best_settings(fn_args: Any) -> dict[str, Any]:
    """Returns what a Tuner found, nothing where there is none."""
    if not fn_args.hyperparameters:
        return {}
    from tfrec_llm.pipelines.on_tfx.tuner import settings_of

    return settings_of(fn_args.hyperparameters["values"])


def _stop_words(config: RunConfig) -> list[str]:
    if config.text.stop_words is None:
        return []
    return list(load_stop_words(config.text.stop_words))


def _dense(name: str, values: Any) -> Any:
    if not isinstance(values, tf.SparseTensor):
        return values
    if values.dtype != tf.string:
        raise UsageError(
            f"The feature `{name}` may be missing by its schema, and there is no number that says "
            "so. Give it `presence { min_fraction: 1 }` and `shape { dim { size: 1 } }`, or leave "
            "the column out."
        )
    rows = tf.SparseTensor(values.indices, values.values, [values.dense_shape[0], 1])
    return tf.reshape(tf.sparse.to_dense(rows, default_value=""), [-1, 1])


def _dataset(fn_args: Any, config: RunConfig) -> Dataset:
    factory = fn_args.data_accessor.record_batch_factory
    return dataset_of_patterns(fn_args.train_files, factory, config.data)


def _open_run(
    fn_args: Any, config: RunConfig, dataset: Dataset, stack: contextlib.ExitStack
) -> RunFolder:
    given = (fn_args.custom_config or {}).get("run_folder")
    if given is None:
        path = stack.enter_context(local_output(fn_args.model_run_dir)) / RUN
    elif is_remote(given):
        raise UsageError(
            f"run_folder is {given}, but a training that is to go on later must lie in a folder "
            "of the machine, or of a disk that it mounts."
        )
    else:  # other settings or other data are another run
        path = Path(given) / training_fingerprint(config, dataset)[:16]
    return RunFolder.open_for_training(path, resume=True)
