"""Several replicas against one: the same batches must give the same losses and weights."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load_file

from tfrec_llm.errors import UsageError
from tfrec_llm.keras_api import keras, tf
from tfrec_llm.models.step_part import ReplicaPart
from tfrec_llm.trainer.replicas import Replicas, make_replicas

SCRIPT = Path(__file__).with_name("run_replicas.py")
CASES = ["adam", "sgd"]  # the defaults, and every option


def started(arguments: Sequence[str | Path], **environment: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, str(SCRIPT), *map(str, arguments)],
        env={**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3", **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def two_workers(*arguments: str | Path) -> list[tuple[int, str]]:
    """Runs the script as a cluster of two; returns exit code and output of each."""
    held = [socket.socket() for _ in range(2)]
    for each in held:
        each.bind(("localhost", 0))
    addresses = [f"localhost:{each.getsockname()[1]}" for each in held]
    for each in held:
        each.close()
    workers = []
    for index in range(2):
        task = {"type": "worker", "index": index}
        config = json.dumps({"cluster": {"worker": addresses}, "task": task})
        workers.append(started(arguments, TF_CONFIG=config))
    try:
        outputs = [worker.communicate(timeout=600)[0] for worker in workers]
    finally:
        for worker in workers:
            worker.kill()
    return [(worker.returncode, out) for worker, out in zip(workers, outputs, strict=True)]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("replicas")


@pytest.fixture(scope="module")
def mirrored(folder: Path) -> Path:
    """Every case on one replica, and on two devices of one process."""
    worker = started([folder, "mirrored"])
    output, _ = worker.communicate(timeout=600)
    assert worker.returncode == 0, output
    return folder


@pytest.fixture(scope="module")
def broken(folder: Path) -> list[tuple[int, str]]:
    """Two workers, of which the second is killed in the middle of the second epoch."""
    return two_workers(folder, "multi_worker", "adam", "--die-after-epoch", "1")


@pytest.fixture(scope="module")
def resumed(folder: Path, broken: Any) -> Path:
    """Both workers again, and then the other case from its beginning."""
    for code, output in two_workers(folder, "multi_worker", *CASES, "--resume"):
        assert code == 0, output
    return folder


def last_state(folder: Path, kind: str, case: str) -> dict[str, np.ndarray]:
    """Returns weights and state of the optimiser after the last epoch, by number."""
    arrays = load_file(folder / f"{kind} {case} 0" / "select-last.safetensors")
    return {name[:4]: array for name, array in arrays.items() if "seed_generator" not in name}


def assert_same(found: dict[str, Any], wanted: dict[str, Any], case: str) -> None:
    assert sorted(found) == sorted(wanted)
    # Adam divides by the size of a gradient, and so enlarges the rounding of a small one.
    atol = 1e-4 if case == "adam" else 1e-6
    for name in wanted:
        np.testing.assert_allclose(found[name], wanted[name], atol=atol, rtol=1e-6, err_msg=name)


def assert_as_alone(folder: Path, kind: str, case: str) -> None:
    assert_same(last_state(folder, kind, case), last_state(folder, "none", case), case)
    # The chief is left with the weights of the best epoch.
    assert_same(
        dict(np.load(folder / f"{kind} {case} 0.npz")),
        dict(np.load(folder / f"none {case} 0.npz")),
        case,
    )


@pytest.mark.slow
@pytest.mark.parametrize("case", CASES)
def test_two_devices_train_as_one_does(case: str, mirrored: Path) -> None:
    assert_as_alone(mirrored, "mirrored", case)


@pytest.mark.slow
def test_a_case_trains_something(mirrored: Path) -> None:
    for case in CASES:
        found = np.load(mirrored / f"none {case} 0.npz")
        assert np.all(np.isfinite(found["losses"])) and np.all(found["losses"] > 0.1)
        assert np.all(np.diff(found["metrics"]) != 0.0)  # the start, and each epoch


@pytest.mark.slow
def test_each_replica_draws_for_itself_and_by_the_seed_of_the_step(mirrored: Path) -> None:
    first, again, other = np.load(mirrored / "draws.npy")
    assert np.all((first >= 0.0) & (first < 1.0)) and len(np.unique(first)) == first.size
    np.testing.assert_array_equal(first, again)
    assert not np.any(first == other)


@pytest.mark.slow
def test_when_a_worker_is_killed_the_other_says_so_and_what_to_do(
    broken: list[tuple[int, str]], folder: Path
) -> None:
    (code, output), (of_killed, _) = broken
    assert of_killed == -9
    assert code == 1, output
    told = [line for line in output.splitlines() if line.startswith("WorkerError: ")]
    assert len(told) == 1 and "Worker 0 lost another worker of the 2" in told[0]
    assert "--resume" in told[0]
    assert not list(folder.glob("multi_worker*.npz"))


@pytest.mark.slow
@pytest.mark.parametrize("case", CASES)
def test_two_processes_train_as_one_does_after_a_kill_too(
    case: str, mirrored: Path, resumed: Path
) -> None:
    assert_as_alone(resumed, "multi_worker", case)


@pytest.mark.slow
@pytest.mark.parametrize("case", CASES)
def test_the_second_worker_has_the_same_weights_and_hears_of_the_measures(
    case: str, mirrored: Path, resumed: Path
) -> None:
    found, chief = (dict(np.load(resumed / f"multi_worker {case} {w}.npz")) for w in (1, 0))
    for name in ("losses", "metrics"):
        np.testing.assert_array_equal(found.pop(name), chief.pop(name))
    wanted = last_state(mirrored, "none", case)
    assert_same(found, {name: wanted[name] for name in chief}, case)


@pytest.mark.slow
def test_only_the_chief_writes(resumed: Path) -> None:
    assert {path.name for path in (resumed / "multi_worker adam 0").iterdir()} == {
        "select-best.safetensors",
        "select-last.safetensors",
    }
    assert not list(resumed.glob("multi_worker * 1"))


def test_one_replica_computes_all_and_waits_for_nobody() -> None:
    replicas = make_replicas("none")
    assert (replicas.count, replicas.num_workers, replicas.worker) == (1, 1, 0)
    assert replicas.is_chief and not replicas.is_distributed
    variable = keras.Variable([1.0, 2.0])
    assert replicas.whole([variable]) == [variable]
    replicas.share_variables([variable])
    replicas.check_alike("data", "x")
    told = {"a": 1}
    assert replicas.from_chief(told) is told
    (same,) = replicas.sum([tf.constant(3.0)])
    assert float(same) == 3.0
    assert float(replicas.run(lambda a, b: a - b, [replicas.constant(np.ones(())), 0.5])) == 0.5


def test_a_single_replica_keeps_its_own_random_states() -> None:
    state = keras.random.SeedGenerator(3).state
    Replicas().seed([state], tf.constant([1, 2]))
    assert state.numpy().tolist() == [3, 0]


@pytest.mark.parametrize(
    "config",
    [
        None,
        "",
        "no json",
        "[]",
        "{}",
        '{"cluster": {"worker": ["a:1"]}}',
        '{"cluster": {"worker": ["a:1"]}, "task": {"type": "worker", "index": 1}}',
        '{"cluster": {"worker": ["a:1"]}, "task": {"type": "worker", "index": -1}}',
        '{"cluster": {"worker": ["a:1"]}, "task": {"type": "worker", "index": "x"}}',
        '{"cluster": {"worker": ["a:1"]}, "task": {"type": "chief", "index": 0}}',
        '{"cluster": {"ps": ["b:1"], "worker": ["a:1"]}, "task": {"type": "worker", "index": 0}}',
    ],
)
def test_several_workers_need_to_know_their_cluster(
    config: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("TF_CONFIG", raising=False)
    if config is not None:
        monkeypatch.setenv("TF_CONFIG", config)
    with pytest.raises(UsageError, match="TF_CONFIG, which is .*launch_local.py"):
        make_replicas("multi_worker")


def test_several_workers_are_set_up_before_tensorflow_is_used(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    tf.constant(1.0) + 1.0
    task = {"cluster": {"worker": ["localhost:1", "localhost:2"]}}
    config = {**task, "task": {"type": "worker", "index": 0}}
    monkeypatch.setenv("TF_CONFIG", json.dumps(config))
    with pytest.raises(UsageError, match="before TensorFlow is used"):
        make_replicas("multi_worker")


def parts(num_replicas: int, gathered: Any = None) -> list[ReplicaPart]:
    return [ReplicaPart(r, num_replicas, lambda own: own) for r in range(num_replicas)]


@pytest.mark.parametrize("num_rows", [0, 1, 2, 5, 9])
@pytest.mark.parametrize("num_replicas", [1, 2, 3, 7])
def test_the_parts_of_a_step_are_the_step(num_replicas: int, num_rows: int) -> None:
    rows = tf.range(num_rows)
    found = parts(num_replicas)
    joined = tf.concat([part.rows(rows) for part in found], axis=0)
    assert joined.numpy().tolist() == list(range(num_rows))
    joined = tf.concat([part.labels(num_rows) for part in found], axis=0)
    assert joined.numpy().tolist() == list(range(num_rows))
    sizes = [len(part.rows(rows)) for part in found]
    assert max(sizes) - min(sizes) <= 1


def test_queries_go_with_the_rows_of_their_users_in_any_order() -> None:
    places = tf.constant([[4, 0], [0, 1], [2, 2], [1, 0], [4, 3]], tf.int64)
    seen = {}
    for part in parts(2):
        first = int(part.rows(tf.range(5))[0])
        own, labels = part.queries(places, tf.constant(5))
        for (row, position), label in zip(own.numpy(), labels.numpy(), strict=True):
            seen[int(label)] = [int(row) + first, int(position)]
            assert 0 <= row < len(part.rows(tf.range(5)))
    assert [seen[label] for label in range(5)] == places.numpy().tolist()


@pytest.mark.parametrize("num_rows", [1, 2, 5, 6])
@pytest.mark.parametrize("num_replicas", [2, 3, 4])
def test_each_row_is_embedded_once_and_given_to_all(num_replicas: int, num_rows: int) -> None:
    rows = tf.range(num_rows, dtype=tf.float32)[:, None]
    computed: list[Any] = []

    def double(own: Any) -> Any:
        computed.append(own)
        return 2.0 * own

    for replica in range(num_replicas):  # the first round fills what the second one gathers
        ReplicaPart(replica, num_replicas, lambda own: own).embed(double, [rows])
    everything = 2.0 * tf.concat(computed, axis=0)
    for replica in range(num_replicas):
        part = ReplicaPart(replica, num_replicas, lambda own: everything)
        found = part.embed(double, [rows])
        np.testing.assert_array_equal(found, 2.0 * rows)
