"""Trains small models on one replica or several and writes down what came of it; see the tests.

python run_replicas.py OUT KIND [CASE …] [--die-after-epoch N] [--resume]
"""

from __future__ import annotations

import argparse
import itertools
import os
import signal
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

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
from tfrec_llm.trainer.sequences import SequenceDataset  # noqa: E402

CASES: dict[str, dict[str, Any]] = {
    "adam": {"kind": "transformer"},  # the defaults
    "sgd": {
        "optimizer": "sgd",
        "time_gaps": True,
        "max_positives": 20,
        "copies": 2,
        "gradient_cache_rows": 3,
        "task_options": {
            "queue_size": 40,
            "num_hard_negatives": 9,
            "false_negative_margin": 0.3,
            "label_smoothing": 0.1,
            "debias_share": 0.01,
        },
    },
}


class Sgd(SummedGradients, keras.optimizers.SGD):
    pass


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
    world, case = PlantedWorld(), dict(case)
    time_gaps = case.pop("time_gaps", False)
    if time_gaps:
        timed = world.interactions.with_columns(
            gap=(pl.col("item_number") + 5) * pl.col("position")
        )
        world.dataset = SequenceDataset(
            timed.with_columns(pl.col("gap") % 32), 4, world.texts, time_gaps=True
        )
    keras.utils.set_random_seed(1)
    with replicas.scope():
        model = TwoTowerModel(
            ItemTower(NUM_ITEMS, DIM, item_id_dropout=0.0, dropout=0.0),
            UserTower(case.pop("kind", "attention"), 4, dropout=0.0, time_gaps=time_gaps),
            feature_dim=FEATURE_DIM,
            task_options=case.pop("task_options", None),
            gradient_cache_rows=case.pop("gradient_cache_rows", None),
        )
    generator = np.random.default_rng(3)
    for variable in model.trainable_variables:  # much of the start is zero
        noise = generator.normal(0.0, 0.2, variable.shape).astype(np.float32)
        if replicas.is_chief:  # the others have to hear of it
            variable.assign(variable.value + noise)
    copies = case.pop("copies", 0) * NUM_ITEMS
    more = np.random.default_rng(5).normal(size=(copies, FEATURE_DIM)).astype(np.float32)
    originals, world.features = world.features, np.concatenate([world.features, more])
    make = sgd if case.pop("optimizer", "adam") == "sgd" else make_optimizer
    train_two_tower.make_optimizer = make  # fit itself trains with nothing but AdamW

    def evaluate() -> float:
        return float(np.abs(model.embed_corpus(originals)).sum())

    # Forty users: the last batch is of one, and a replica has nobody in it.
    settings = {"batch_size": 13, "epochs": 2, "stop_after": 2, "text_search_weight": 0.2, **case}
    result = world.fit(model, folder, evaluate=evaluate, replicas=replicas, **settings, **options)
    # By the number that they have in a checkpoint; drop-out is off, and its states say nothing.
    weights = {
        f"{number:04}": variable.value.numpy()
        for number, variable in enumerate(replicas.whole(model.variables))
        if "seed_generator" not in variable.path
    }
    return result, weights


def draws_of_replicas(replicas: Replicas) -> np.ndarray:
    """Returns what drop-out would draw on each replica, in two steps with one seed and a third."""
    with replicas.scope():
        generator = keras.random.SeedGenerator(1)

    @tf.function
    def step(seed: Any) -> Any:
        def draw(seed: Any) -> Any:
            replicas.seed([generator.state], seed)
            own = keras.random.uniform((8,), seed=generator)
            return tf.distribute.get_replica_context().all_gather(own[None], axis=0)

        return replicas.run(draw, [seed])

    return np.stack([step(tf.constant([seed, 2])).numpy() for seed in (1, 1, 3)])


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("out", type=Path)
    parser.add_argument("kind")
    parser.add_argument("cases", nargs="*", default=list(CASES))
    parser.add_argument("--die-after-epoch", type=int)
    parser.add_argument("--resume", action="store_true")
    arguments = parser.parse_args()
    several = make_replicas(arguments.kind)
    trained = {arguments.kind: several}
    if arguments.kind == "mirrored":
        trained["none"] = Replicas()
        np.save(arguments.out / "draws.npy", draws_of_replicas(several))
    for name, (kind, replicas) in itertools.product(arguments.cases, trained.items()):
        progress = DieAfter(arguments.die_after_epoch if replicas.worker == 1 else None)
        # A folder for each worker, so that it shows who writes.
        folder = arguments.out / f"{kind} {name} {replicas.worker}"
        try:
            result, weights = train(
                CASES[name], replicas, folder, resume=arguments.resume, progress=progress
            )
        except WorkerError as error:
            print(f"{type(error).__name__}: {error}", flush=True)
            return error.exit_code
        np.savez(
            arguments.out / f"{kind} {name} {replicas.worker}.npz",
            losses=result.losses,
            metrics=result.metrics,
            **weights,
        )
    return 0


if __name__ == "__main__":
    sys.exit(main())
