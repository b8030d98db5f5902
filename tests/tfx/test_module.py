"""The functions that Transform, Trainer and Tuner call."""

from __future__ import annotations

import importlib.util
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tfrec_llm.errors import ConfigError, UsageError
from tfrec_llm.keras_api import tf
from tfrec_llm.pipelines.pipeline_config import config_to_text
from tfrec_llm.serving.loaded import load

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def fn_args(first_run: Any, tmp_path: Path) -> Callable[..., Any]:
    """Makes what TFX hands to `run_fn` and `tuner_fn`, with the examples of the first run."""
    from tfx.components.trainer.fn_args_utils import DataAccessor, FnArgs
    from tfx.components.util import tfxio_utils
    from tfx.types import standard_artifacts

    folder = first_run.outputs("GatherTables", "examples")[0]
    examples = standard_artifacts.Examples()
    examples.uri = str(folder)
    factory = tfxio_utils.get_record_batch_factory_from_artifact([examples], ["test"])

    def make(**custom_config: Any) -> Any:
        return FnArgs(
            working_dir=str(tmp_path / "work"),
            train_files=[f"{folder}/Split-items/*", f"{folder}/Split-interactions/*"],
            data_accessor=DataAccessor(None, factory, None),
            serving_model_dir=str(tmp_path / "Format-Serving"),
            model_run_dir=str(tmp_path / "model_run"),
            custom_config={"config": config_to_text(first_run.config), **custom_config},
        )

    return make


def test_a_run_in_a_folder_of_its_own_goes_on_where_it_stood(
    first_run: Any, fn_args: Any, tmp_path: Path
) -> None:
    from tfrec_llm.pipelines.on_tfx.module import run_fn

    run = first_run.outputs("Trainer", "model_run")[0] / "run"
    fingerprint = json.loads((run / "training.json").read_text())["fingerprint"]
    here = tmp_path / "runs" / fingerprint[:16]
    shutil.copytree(run, here)
    shutil.rmtree(here / "export")  # as if it had been killed while it exported
    run_fn(fn_args(run_folder=str(tmp_path / "runs")))
    # Trained anew it would have taken other seconds.
    assert (here / "training.json").read_bytes() == (run / "training.json").read_bytes()
    request = {"history": ["space-1", "space-2"], "k": 5}
    anew, before = load(tmp_path / "Format-Serving"), load(first_run.pushed[0])
    assert anew.recommend(**request) == before.recommend(**request)


def test_a_run_folder_in_a_bucket_is_refused(fn_args: Any) -> None:
    from tfrec_llm.pipelines.on_tfx.module import run_fn

    with pytest.raises(UsageError, match="run_folder is gs://b/runs"):
        run_fn(fn_args(run_folder="gs://b/runs"))


def test_a_distribution_strategy_reaches_the_configuration(fn_args: Any) -> None:
    from tfrec_llm.pipelines.on_tfx.module import run_fn

    with pytest.raises(ConfigError, match="train.strategy"):
        run_fn(fn_args(distribution_strategy="no such strategy"))


def test_a_missing_configuration_is_named() -> None:
    from tfrec_llm.pipelines.on_tfx.module import preprocessing_fn

    with pytest.raises(UsageError, match="custom_config has no `config`"):
        preprocessing_fn({}, None)


def test_the_tuner_tries_what_was_given_first_and_its_best_trains(fn_args: Any) -> None:
    from tfrec_llm.pipelines.on_tfx.module import tuner_fn
    from tfrec_llm.pipelines.on_tfx.tuner import settings_of

    result = tuner_fn(fn_args(trials=1))
    result.tuner.search(**result.fit_kwargs)
    best = settings_of(result.tuner.get_best_hyperparameters()[0].get_config()["values"])
    assert best["towers.embedding_dim"] == 16
    assert best["towers.history"] == "mean"
    assert best["train.batch_size"] == 16
    [trial] = result.tuner.oracle.get_best_trials(1)
    assert 0.0 < trial.score <= 1.0


def test_ids_pass_as_they_are_and_texts_are_cleaned(first_run: Any) -> None:
    from tfrec_llm.pipelines.on_tfx.module import preprocessing_fn

    config = {"config": config_to_text(first_run.config)}
    titles = tf.SparseTensor([[1, 0]], ["<b>Emma &amp; co</b>"], [2, 1])
    made = preprocessing_fn(
        {
            "item_id": tf.constant([["<b>1</b>"], ["2 "]]),
            "title": titles,
            "year": tf.constant([[1], [2]]),
        },
        config,
    )
    assert made["item_id"].numpy().tolist() == [[b"<b>1</b>"], [b"2 "]]
    assert made["title"].numpy().tolist() == [[b""], [b"Emma & co"]]
    assert made["year"].numpy().tolist() == [[1], [2]]
    missing = tf.SparseTensor([[0, 0]], [1.0], [2, 1])
    with pytest.raises(UsageError, match="`price` may be missing"):
        preprocessing_fn({"price": missing}, config)


def test_the_module_file_has_the_functions_of_the_package() -> None:
    from tfrec_llm.pipelines.on_tfx import module

    spec = importlib.util.spec_from_file_location("user", ROOT / "training" / "tfx_module.py")
    assert spec is not None and spec.loader is not None
    user = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(user)
    for name in ("preprocessing_fn", "run_fn", "tuner_fn"):
        assert getattr(user, name) is getattr(module, name)
