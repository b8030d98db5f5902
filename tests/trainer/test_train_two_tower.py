from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from tfrec_llm.errors import CheckpointError, CorruptFileError, TfrecLlmError
from tfrec_llm.models.variables_file import read_state
from tfrec_llm.progress import Silent
from tfrec_llm.trainer.sequences import SequenceDataset
from tfrec_llm.trainer.train_two_tower import FitResult


class SimulatedCrash(Exception):
    pass


class CrashAt(Silent):
    """A listener that fails in the middle of an epoch."""

    def __init__(self, epoch: int, step: int) -> None:
        self.task, self.step = f"select epoch {epoch}", step

    def advance(self, task: str, done: int, total: int, note: str = "") -> None:
        if (task, done) == (self.task, self.step):
            raise SimulatedCrash


def weights(model: Any) -> list[np.ndarray]:
    return [np.array(v.value) for v in model.variables]


def assert_same(first: Any, second: Any) -> None:
    assert len(first) == len(second)
    for a, b in zip(first, second, strict=True):
        np.testing.assert_allclose(a, b, atol=1e-6)


def test_the_loss_falls_and_the_planted_order_is_learned(world: Any, tmp_path: Path) -> None:
    model = world.model("attention")
    measure = world.quality(model)
    before = measure()
    result = world.fit(model, tmp_path, epochs=8, stop_after=8, text_search_weight=0.1)
    assert len(result.losses) == 8 and result.best_epoch == 8
    assert result.losses[-1] < 0.9 * result.losses[0]
    assert measure() > before + 0.1
    assert math.isnan(result.best_metric) and result.metrics == []


def test_one_seed_trains_the_same_weights_twice(world: Any, tmp_path: Path) -> None:
    trained = []
    for run in ("a", "b"):
        model = world.model()
        world.fit(model, tmp_path / run, stop_after=1)
        trained.append(weights(model))
    assert_same(*trained)


def test_another_seed_trains_other_weights(world: Any, tmp_path: Path) -> None:
    trained = []
    for seed in (1, 2):
        model = world.model()
        world.fit(model, tmp_path / str(seed), stop_after=1, seed=seed)
        trained.append(model.item_tower.id_embedding.table.numpy())
    assert not np.allclose(*trained)


@pytest.fixture(scope="module")
def unbroken(world: Any, tmp_path_factory: pytest.TempPathFactory) -> tuple[Any, FitResult]:
    model = world.model("attention")
    folder = tmp_path_factory.mktemp("unbroken")
    return model, world.fit(model, folder, evaluate=world.quality(model))


@pytest.mark.parametrize("crash", ["while evaluating", "in the middle of an epoch"])
def test_a_resumed_run_ends_with_the_weights_of_an_unbroken_one(
    crash: str, unbroken: tuple[Any, FitResult], world: Any, tmp_path: Path
) -> None:
    whole, wanted = unbroken
    model = world.model("attention")
    measure, calls = world.quality(model), []

    def evaluate() -> float:
        calls.append(1)
        if crash == "while evaluating" and len(calls) == 4:
            raise SimulatedCrash
        return measure()

    progress = CrashAt(3, 2) if crash == "in the middle of an epoch" else None
    with pytest.raises(SimulatedCrash):
        world.fit(model, tmp_path / "cut", evaluate=evaluate, progress=progress)

    # A new process has other random numbers; all of them must come from the checkpoint.
    again = world.model("attention", seed=99)
    found = world.fit(again, tmp_path / "cut", evaluate=world.quality(again), resume=True)
    assert_same(weights(again), weights(whole))
    assert found.losses == pytest.approx(wanted.losses, abs=1e-6)
    assert found.metrics == pytest.approx(wanted.metrics, abs=1e-6)
    assert found.best_epoch == wanted.best_epoch


def test_resuming_a_finished_run_trains_no_more(world: Any, tmp_path: Path) -> None:
    model = world.model()
    first = world.fit(model, tmp_path, stop_after=2)
    again = world.model(seed=5)
    second = world.fit(again, tmp_path, stop_after=2, resume=True)
    assert_same(weights(again), weights(model))
    assert second.losses == first.losses


def test_resume_without_a_checkpoint_starts_from_the_beginning(world: Any, tmp_path: Path) -> None:
    assert len(world.fit(world.model(), tmp_path, stop_after=1, resume=True).losses) == 1


def test_without_resume_an_old_checkpoint_is_not_looked_at(world: Any, tmp_path: Path) -> None:
    (tmp_path / "select-last.safetensors").write_bytes(b"rubbish")
    assert len(world.fit(world.model(), tmp_path, stop_after=1).losses) == 1


def test_early_stop_keeps_the_weights_of_the_best_epoch(world: Any, tmp_path: Path) -> None:
    model, script, seen = world.model(), [0.1, 0.5, 0.4, 0.3, 0.9, 0.9], []

    def evaluate() -> float:
        seen.append(weights(model))
        return script[len(seen) - 1]

    result = world.fit(model, tmp_path, epochs=5, stop_after=5, patience=2, evaluate=evaluate)
    assert result.metrics == [0.1, 0.5, 0.4, 0.3]  # two epochs without gain: the 0.9 is not seen
    assert (result.best_epoch, result.best_metric) == (1, 0.5)
    assert_same(weights(model), seen[1])


def test_a_start_that_nothing_betters_is_kept(world: Any, tmp_path: Path) -> None:
    model, script = world.model(), iter([0.5, 0.5, 0.5, 0.5])
    start = weights(model)
    result = world.fit(model, tmp_path, patience=2, evaluate=lambda: next(script))
    assert result.best_epoch == 0 and len(result.losses) == 2  # a tie is no gain
    assert_same(weights(model), start)


def test_no_epochs_leave_the_start(world: Any, tmp_path: Path) -> None:
    model = world.model()
    start = weights(model)
    result = world.fit(model, tmp_path, stop_after=0)
    assert (result.best_epoch, result.losses) == (0, [])
    assert_same(weights(model), start)


def test_data_without_a_sequence_trains_nothing_and_stays_finite(
    world: Any, tmp_path: Path
) -> None:
    lone = pl.DataFrame({"user_id": ["a", "b"], "item_number": [1, 2], "position": [0, 0]})
    model = world.model()
    start = weights(model)
    result = world.fit(model, tmp_path, dataset=SequenceDataset(lone, 4), stop_after=2)
    assert result.losses == [0.0, 0.0]
    assert_same(weights(model), start)


def test_users_of_text_alone_train_to_something_finite(world: Any, tmp_path: Path) -> None:
    lone = pl.DataFrame({"user_id": ["a", "b"], "item_number": [1, 2], "position": [0, 0]})
    dataset = SequenceDataset(lone, 4, {"a": 0, "b": 1})
    for share in (0.0, 1.0):
        model = world.model()
        result = world.fit(
            model, tmp_path / str(share), dataset=dataset, stop_after=2, text_only_share=share
        )
        assert np.isfinite(result.losses).all()
        assert (result.losses[0] > 0) == (share == 1.0)
        assert all(np.isfinite(w).all() for w in weights(model))


def test_in_batch_negatives_alone_are_enough(world: Any, tmp_path: Path) -> None:
    options = {"uniform_negatives": 0, "text_search_weight": 0.1}
    result = world.fit(world.model(), tmp_path, stop_after=1, **options)
    assert math.isfinite(result.losses[0]) and result.losses[0] > 0


def test_a_checkpoint_of_another_configuration_is_refused(world: Any, tmp_path: Path) -> None:
    world.fit(world.model(), tmp_path, stop_after=1)
    with pytest.raises(CheckpointError, match="another configuration or other data.*new --out"):
        world.fit(world.model(), tmp_path, resume=True, fingerprint="theirs")


def test_a_checkpoint_of_another_model_is_refused(world: Any, tmp_path: Path) -> None:
    world.fit(world.model("mean"), tmp_path, stop_after=0)
    with pytest.raises(CheckpointError, match="select-last.safetensors"):
        world.fit(world.model("gru"), tmp_path, resume=True)


@pytest.mark.parametrize("damage", ["cut", "bit flipped in a weight", "bit flipped in the state"])
def test_a_damaged_checkpoint_is_named_and_never_trained_from(
    damage: str, world: Any, tmp_path: Path
) -> None:
    world.fit(world.model(), tmp_path, stop_after=0)
    path = tmp_path / "select-last.safetensors"
    content = bytearray(path.read_bytes())
    if damage == "cut":
        content = content[: len(content) // 2]
    elif damage == "bit flipped in a weight":
        content[-100] ^= 8
    else:
        content[content.index(b"best_epoch") + 14] ^= 1  # the digit of the epoch
    path.write_bytes(content)
    with pytest.raises(CorruptFileError, match="select-last.safetensors .*Delete it"):
        world.fit(world.model(), tmp_path, resume=True)


def test_a_loss_that_is_no_number_is_an_error_and_not_saved(world: Any, tmp_path: Path) -> None:
    model = world.model()
    model.item_tower.text_projection.linear.bias.assign([math.nan] * 4)
    with pytest.raises(TfrecLlmError, match="loss of epoch 1 is nan. Lower train.learning_rate"):
        world.fit(model, tmp_path)
    assert read_state(tmp_path / "select-last.safetensors")["result"]["losses"] == []


def test_phases_share_a_folder_without_meeting(world: Any, tmp_path: Path) -> None:
    world.fit(world.model(), tmp_path, phase="select", stop_after=0, evaluate=lambda: 0.0)
    world.fit(world.model(), tmp_path, phase="refit", stop_after=0)
    assert sorted(p.name for p in tmp_path.iterdir()) == [
        "refit-last.safetensors",
        "select-best.safetensors",
        "select-last.safetensors",
    ]


def test_logs_for_tensorboard_are_written(world: Any, tmp_path: Path) -> None:
    logs = tmp_path / "logs"
    world.fit(world.model(), tmp_path, stop_after=1, log_folder=logs, evaluate=lambda: 0.0)
    assert list((logs / "select").glob("events*"))


EVERY_NEGATIVE = {
    "task_options": {
        "num_hard_negatives": 6,
        "false_negative_margin": 0.5,
        "queue_size": 64,
        "label_smoothing": 0.05,
        "debias_share": 0.01,
    },
    "gradient_cache_rows": 5,
}


@pytest.mark.slow
def test_with_every_option_of_the_negatives_the_planted_order_is_learned(
    world: Any, tmp_path: Path
) -> None:
    model = world.model("mean", **EVERY_NEGATIVE)
    measure = world.quality(model)
    before = measure()
    result = world.fit(model, tmp_path, epochs=8, stop_after=8, text_search_weight=0.1)
    assert np.isfinite(result.losses).all() and measure() > before + 0.1


@pytest.mark.slow
def test_a_resumed_run_goes_on_with_the_queue_it_had(world: Any, tmp_path: Path) -> None:
    whole = world.model("mean", **EVERY_NEGATIVE)
    wanted = world.fit(whole, tmp_path / "whole", epochs=3, stop_after=3)
    cut = world.model("mean", **EVERY_NEGATIVE)
    with pytest.raises(SimulatedCrash):
        world.fit(cut, tmp_path / "cut", epochs=3, stop_after=3, progress=CrashAt(3, 2))
    again = world.model("mean", seed=99, **EVERY_NEGATIVE)
    found = world.fit(again, tmp_path / "cut", epochs=3, stop_after=3, resume=True)
    assert_same(weights(again), weights(whole))
    assert found.losses == pytest.approx(wanted.losses, abs=1e-6)
