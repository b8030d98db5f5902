"""Trains small models on one replica or several and writes down what came of it; see the tests.

python run_replicas.py OUT KIND [CASE …] [--die-after-epoch N] [--resume]
"""

from __future__ import annotations

import argparse
import os
import signal
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from tfrec_llm.errors import WorkerError
from tfrec_llm.keras_api import keras, tf

DEVICES = 2  # as which a machine without GPUs shows its processor
if "mirrored" in sys.argv:
    (_cpu,) = tf.config.list_physical_devices("CPU")
    tf.config.set_logical_device_configuration(
        _cpu, [tf.config.LogicalDeviceConfiguration()] * DEVICES
    )

from conftest import DIM, FEATURE_DIM, NUM_ITEMS, PlantedWorld  # noqa: E402

from tfrec_llm.models.two_tower_model import TwoTowerModel  # noqa: E402
from tfrec_llm.progress import Silent  # noqa: E402
from tfrec_llm.towers.item_tower import ItemTower  # noqa: E402
from tfrec_llm.towers.user_tower import UserTower  # noqa: E402
from tfrec_llm.trainer import train_two_tower  # noqa: E402
from tfrec_llm.trainer.optimizer import SummedGradients, make_optimizer  # noqa: E402
from tfrec_llm.trainer.replicas import Replicas, make_replicas  # noqa: E402

CASES: dict[str, dict[str, Any]] = {
    "plain": {"kind": "transformer"},
    "sgd": {"optimizer": "sgd"},
    "all options": {
        "task_options": {
            "queue_size": 40,
            "num_hard_negatives": 9,
            "false_negative_margin": 0.3,
            "label_smoothing": 0.1,
            "debias_share": 0.01,
        },
        "gradient_cache_rows": 3,
    },
    "sampled": {"max_positives": 20, "copies": 2},
    "one user": {"batch_size": 1, "users": 3, "kind": "gru"},
    "drop-out": {"dropout": 0.3},
}


class Sgd(SummedGradients, keras.optimizers.SGD):
    @property
    def state(self) -> Any:
        return self.variables


def sgd(variables: Sequence[Any], **_: Any) -> Any:
    optimizer = Sgd(0.5, global_clipnorm=0.5)
    optimizer.build(variables)
    return optimizer


class DieAfter(Silent):
    """Kills its own process in the middle of the epoch after the given one."""

    def __init__(self, epoch: int | None) -> None:
        self.task = None if epoch is None else f"select epoch {epoch + 1}"

    def advance(self, task: str, done: int, total: int, note: str = "") -> None:
        if task == self.task and done == 2:
            os.kill(os.getpid(), signal.SIGKILL)


def train(case: dict[str, Any], replicas: Replicas, folder: Path, **options: Any) -> Any:
    world = PlantedWorld()
    case = dict(case)
    keras.utils.set_random_seed(1)
    dropout = case.pop("dropout", 0.0)
    with replicas.scope():
        model = TwoTowerModel(
            ItemTower(NUM_ITEMS, DIM, item_id_dropout=dropout, dropout=dropout),
            UserTower(case.pop("kind", "attention"), 4, dropout=dropout),
            feature_dim=FEATURE_DIM,
            task_options=case.pop("task_options", None),
            gradient_cache_rows=case.pop("gradient_cache_rows", None),
        )
    # Off the start, where much is zero.
    generator = np.random.default_rng(3)
    for variable in model.trainable_variables:
        noise = generator.normal(0.0, 0.2, variable.shape).astype(np.float32)
        if replicas.is_chief:  # the others have to hear of it
            variable.assign(variable.value + noise)
    if (copies := case.pop("copies", 0)) > 0:
        shape = (copies * NUM_ITEMS, FEATURE_DIM)
        noise = np.random.default_rng(5).normal(size=shape).astype(np.float32)
        world.features = np.concatenate([world.features, noise])
    if (users := case.pop("users", None)) is not None:
        few = world.interactions.filter(
            world.interactions["user_id"].is_in([f"u{user}" for user in range(users)])
        )
        world.dataset = train_two_tower.SequenceDataset(few, 4, {"u0": 0})
    make = sgd if case.pop("optimizer", None) == "sgd" else make_optimizer
    train_two_tower.make_optimizer = make
    features = world.features[:NUM_ITEMS]

    def evaluate() -> float:
        return float(np.abs(model.embed_corpus(features)).sum())

    settings = {"batch_size": 15, "epochs": 3, "stop_after": 3, "text_search_weight": 0.2, **case}
    result = world.fit(model, folder, evaluate=evaluate, replicas=replicas, **settings, **options)
    weights = [np.array(v.value) for v in replicas.whole(model.trainable_variables)]
    return result, weights


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("out", type=Path)
    parser.add_argument("kind")
    parser.add_argument("cases", nargs="*", default=list(CASES))
    parser.add_argument("--die-after-epoch", type=int)
    parser.add_argument("--resume", action="store_true")
    arguments = parser.parse_args()
    replicas = make_replicas(arguments.kind)
    for name in arguments.cases:
        progress = DieAfter(arguments.die_after_epoch if replicas.worker == 1 else None)
        folder = arguments.out / f"{arguments.kind} {name}"
        if not replicas.is_chief:
            folder = arguments.out / "nothing is written here"
        try:
            result, weights = train(
                CASES[name], replicas, folder, resume=arguments.resume, progress=progress
            )
        except WorkerError as error:
            print(f"{type(error).__name__}: {error}", flush=True)
            return error.exit_code
        found = {f"weight {i:02}": weight for i, weight in enumerate(weights)}
        np.savez(
            arguments.out / f"{arguments.kind} {name} {replicas.worker}.npz",
            losses=result.losses,
            metrics=result.metrics,
            **found,
        )
    return 0


if __name__ == "__main__":
    sys.exit(main())
