"""Whole trainings on several replicas, as a person starts them."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tfrec_llm.config.load import load_config
from tfrec_llm.serving.trained import TrainedModel

LAUNCHER = Path(__file__).resolve().parents[2] / "training" / "launch_local.py"
TWO_DEVICES = (
    "import sys\n"
    "from tfrec_llm.keras_api import tf\n"
    "(cpu,) = tf.config.list_physical_devices('CPU')\n"
    "two = [tf.config.LogicalDeviceConfiguration()] * 2\n"
    "tf.config.set_logical_device_configuration(cpu, two)\n"
    "from tfrec_llm.cli.main import main\n"
    "sys.exit(main(sys.argv[1:]))"
)


def training_of(run: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((run / "training.json").read_text())
    return found


@pytest.fixture(scope="module")
def alone(shop: Path) -> Path:
    from tfrec_llm.workflows.train import train

    train(load_config(shop / "run.yaml"), shop / "alone")
    return shop / "alone"


@pytest.fixture(scope="module")
def two_workers(shop: Path, python: Callable[..., Any]) -> subprocess.CompletedProcess[str]:
    return python(  # type: ignore[no-any-return]
        [LAUNCHER, shop / "run.yaml", "--out", shop / "workers", "--workers", "2"]
    )


@pytest.mark.slow
def test_two_workers_come_to_the_model_of_a_single_process(
    two_workers: subprocess.CompletedProcess[str], alone: Path, shop: Path
) -> None:
    assert two_workers.returncode == 0, two_workers.stdout
    assert "2 replicas in 2 processes, which share the batch of each step" in two_workers.stdout
    assert "[worker 1] worker: 1" in two_workers.stdout
    found, wanted = training_of(shop / "workers"), training_of(alone)
    assert (found["replicas"], wanted["replicas"]) == (2, 1)
    for key in ("fingerprint", "best_epoch", "start", "neighbours", "data"):
        assert found[key] == wanted[key], key
    by_epoch = "validation_ndcg@10_by_epoch"
    assert found[by_epoch] == pytest.approx(wanted[by_epoch], abs=1e-3)
    ours, single = (TrainedModel.load(run / "model") for run in (shop / "workers", alone))
    np.testing.assert_allclose(ours.item_embeddings, single.item_embeddings, atol=1e-3)


@pytest.mark.slow
def test_a_run_of_several_workers_is_a_run_like_any_other(
    two_workers: subprocess.CompletedProcess[str], alone: Path, shop: Path
) -> None:
    from tfrec_llm.workflows.train import train

    def files(run: Path) -> set[str]:
        return {
            str(path.relative_to(run)) for path in run.rglob("*") if "tfevents" not in path.name
        }

    assert files(shop / "workers") == files(alone)
    # Where it is trained is no part of what it is: one process may go on with it.
    again = train(load_config(shop / "run.yaml"), shop / "workers", resume=True)
    assert again == training_of(shop / "workers")


@pytest.mark.slow
def test_a_language_model_is_trained_on_two_devices(shop: Path, python: Callable[..., Any]) -> None:
    run = shop / "tuned"
    settings = [
        "train.strategy=mirrored",
        "encoder.mode=full",
        "train.epochs=1",
        "train.refit=false",
    ]
    sets = [word for setting in settings for word in ("--set", setting)]
    ended = python(["-c", TWO_DEVICES, "train", shop / "run.yaml", "--out", run, *sets])
    assert ended.returncode == 0, ended.stderr
    found = training_of(run)
    assert found["replicas"] == 2
    assert np.all(np.isfinite(found["validation_ndcg@10_by_epoch"]))
    assert (run / "model" / "encoder").is_dir()


@pytest.mark.slow
def test_one_device_under_a_strategy_trains_as_without(alone: Path, shop: Path) -> None:
    from tfrec_llm.workflows.train import train

    train(load_config(shop / "run.yaml", ["train.strategy=mirrored"]), shop / "mirrored")
    found, wanted = training_of(shop / "mirrored"), training_of(alone)
    by_epoch = "validation_ndcg@10_by_epoch"
    assert found[by_epoch] == pytest.approx(wanted[by_epoch], abs=1e-6)


@pytest.mark.slow
def test_a_worker_with_other_data_is_refused(shop: Path, python: Callable[..., Any]) -> None:
    # Each worker reads its own copy of the configuration, by its number.
    code = (
        "import json, os, sys\n"
        "index = json.loads(os.environ['TF_CONFIG'])['task']['index']\n"
        "from tfrec_llm.cli.main import main\n"
        "sys.exit(main([*sys.argv[1:], '--set', f'train.seed={7 + index}']))"
    )
    launch = (
        "import runpy, sys\n"
        "module = runpy.run_path(sys.argv[1], run_name='launcher')\n"
        "own = sys.argv[2]\n"
        "names = module['main'].__globals__\n"
        "start = names['_start']\n"
        "names['_start'] = lambda command, count: start("
        "[command[0], '-c', own, *command[3:]], count)\n"
        "sys.exit(module['main'](sys.argv[3:]))"
    )
    out = shop / "differs"
    ended = python(
        ["-c", launch, LAUNCHER, code, shop / "run.yaml", "--out", out, "--workers", "2"]
    )
    assert ended.returncode == 1, ended.stdout
    assert "Worker 1 does not have the same configuration and data as worker 0" in ended.stdout
    assert not (out / "model").exists()


@pytest.mark.slow
def test_two_workers_train_from_a_part_of_the_shards_each(
    shop: Path, python: Callable[..., Any]
) -> None:
    from tfrec_llm.workflows.shard import shard
    from tfrec_llm.workflows.train import train

    shard(load_config(shop / "run.yaml"), shop / "shards", num_shards=4)
    settings = ["data.source=shards", f"data.folder={shop / 'shards'}", "data.items=null"]
    settings += ["data.interactions=null", "data.users=null"]
    sets = [word for setting in settings for word in ("--set", setting)]
    launch = [LAUNCHER, shop / "run.yaml", "--out", shop / "sharded", "--workers", "2", *sets]
    ended = python(launch)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    train(load_config(shop / "run.yaml", settings), shop / "sharded_alone")
    found, wanted = training_of(shop / "sharded"), training_of(shop / "sharded_alone")
    assert (found["replicas"], wanted["replicas"]) == (2, 1)
    assert found["start"] == wanted["start"] and found["data"] == wanted["data"]
    assert len(found["validation_ndcg@10_by_epoch"]) == 3
    ours, start = (TrainedModel.load(shop / run / "model") for run in ("sharded", "sharded_alone"))
    # Users meet in other batches, so it is not the same model, but one that learned the same.
    cosines = (ours.item_embeddings * start.item_embeddings).sum(axis=1)
    assert np.median(cosines) > 0.9
