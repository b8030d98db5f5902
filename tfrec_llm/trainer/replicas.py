"""Several replicas of a model that train as one: where they are, and what they tell each other."""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np

from tfrec_llm.errors import UsageError, WorkerError
from tfrec_llm.keras_api import tf
from tfrec_llm.models.step_part import ReplicaPart, WholeStep

KINDS = ("none", "mirrored", "multi_worker")
WORKER_TIMEOUT = 600.0
_PAGE = 4096


class Replicas:
    """Runs the steps of a training on one device, on several, or on several machines.

    Every replica holds all weights, and is given the whole batch, which is a few integers a user.
    It computes its part of the step (`ReplicaPart`); then the gradients of all are summed, and each
    makes the same update. A batch is therefore the global batch, whatever the number of replicas.

    Of several workers (processes, each with the devices of its machine) the first is the chief. It
    alone measures, decides and writes; what it decides it tells the others.

    Args:
        strategy: `tf.distribute.Strategy`. Defaults to None, one replica in this process.
        worker_timeout: float > 0, seconds that a step waits for the other workers.

    Attributes:
        count: int, replicas of all workers together.
        num_workers: int.
        worker: int, number of this process; 0 is the chief.

    Example:
        >>> replicas = Replicas()
        >>> replicas.count, replicas.is_chief, replicas.from_chief({"epoch": 3})
        (1, True, {'epoch': 3})

    Reference: Li et al., 2020, arXiv:2006.15704 (data-parallel training)
    """

    def __init__(self, strategy: Any = None, worker_timeout: float = WORKER_TIMEOUT) -> None:
        self._strategy = strategy
        self._options = None
        self._sent_by_chief = tf.function(self._sum_with_zeros, autograph=False)
        self._sent_by_each = tf.function(self._sum_over_workers, autograph=False)
        self.count = 1 if strategy is None else int(strategy.num_replicas_in_sync)
        self.num_workers, self.worker = 1, 0
        resolver = getattr(strategy, "cluster_resolver", None)
        if resolver is not None and resolver.cluster_spec().as_dict():
            spec = resolver.cluster_spec()
            self.num_workers = sum(spec.num_tasks(job) for job in spec.jobs)
            # A chief, where there is one beside the workers, is the first of all.
            before = spec.num_tasks("chief") if "chief" in spec.jobs else 0
            self.worker = resolver.task_id + (0 if resolver.task_type == "chief" else before)
            self._options = tf.distribute.experimental.CommunicationOptions(
                timeout_seconds=worker_timeout
            )

    @property
    def is_distributed(self) -> bool:
        """Whether the variables made in `scope` are those of a strategy, even of one replica."""
        return self._strategy is not None

    @property
    def is_chief(self) -> bool:
        """Whether this process is the one that measures, decides and writes."""
        return self.worker == 0

    @contextlib.contextmanager
    def scope(self) -> Iterator[None]:
        """Makes the variables of a model, or of an optimiser, such that every replica has them.

        All workers make the same ones in the same order; they start as those of the chief.

        Raises: WorkerError when another worker stopped meanwhile.
        """
        if self._strategy is None:
            yield
            return
        with self.telling_of_lost_workers(), self._strategy.scope():
            yield

    def constant(self, array: np.ndarray) -> Any:
        """Returns an array as an argument of `run` that lies on every device already."""
        if self._strategy is None:
            return tf.constant(array)
        devices = self._strategy.extended.worker_devices

        def on_its_device(context: Any) -> Any:
            with tf.device(devices[context.replica_id_in_sync_group % len(devices)]):
                return tf.constant(array)

        return self._strategy.experimental_distribute_values_from_function(on_its_device)

    def run(self, step: Callable[..., Any], arguments: Sequence[Any]) -> Any:
        """Runs a step on every replica; for use inside a `tf.function`.

        Args:
            step: takes the arguments, returns a tensor that is the same on all replicas.
            arguments: tensors, which each replica gets whole, or what `constant` returns.

        Returns: that tensor.
        """
        if self._strategy is None:
            return step(*arguments)
        result = self._strategy.run(step, args=tuple(arguments))
        return self._strategy.experimental_local_results(result)[0]

    def part(self) -> WholeStep:
        """Returns what this replica computes of a step; for use inside it."""
        if self.count == 1:
            return WholeStep()
        context = tf.distribute.get_replica_context()

        def gather(own: Any) -> Any:
            return context.all_gather(tf.identity(own), axis=0, options=self._options)

        return ReplicaPart(context.replica_id_in_sync_group, self.count, gather)

    def sum(self, tensors: Sequence[Any]) -> list[Any]:
        """Returns the sums of tensors over all replicas; for use inside a step."""
        if self.count == 1:
            return list(tensors)
        context = tf.distribute.get_replica_context()
        own = [tf.identity(tensor) for tensor in tensors]
        return list(context.all_reduce(tf.distribute.ReduceOp.SUM, own, options=self._options))

    def seed(self, random_states: Sequence[Any], seed: Any) -> None:
        """Gives each replica draws of its own for a step; for use inside it.

        With one replica the states are left as they are, and go on from step to step.

        Args:
            random_states: Keras variables, states of seed generators.
            seed: int32 `(2,)`, of the step.
        """
        if self.count == 1:
            return
        replica = tf.distribute.get_replica_context().replica_id_in_sync_group
        own = tf.random.experimental.stateless_fold_in(seed, replica)
        for number, state in enumerate(random_states):
            drawn = tf.random.experimental.stateless_fold_in(own, number)
            state.assign(tf.cast(drawn, state.dtype))

    def whole(self, variables: Sequence[Any]) -> list[Any]:
        """Returns variables to read or write outside of a step, on all replicas of this process.

        Args:
            variables: Keras variables, made in `scope`.

        Returns: objects with `path`, `shape`, `dtype`, `value` and `assign`.
        """
        if self._strategy is None:
            return list(variables)
        return [_OnAllReplicas(variable, self._strategy) for variable in variables]

    def share_variables(self, variables: Sequence[Any]) -> None:
        """Sets variables to what they are on the chief; all workers call it together."""
        if self.num_workers == 1:
            return
        shared = self.whole(variables)
        values = self._values_of_chief([np.asarray(variable.value) for variable in shared])
        for variable, value in zip(shared, values, strict=True):
            variable.assign(value)

    def from_chief(self, value: dict[str, Any]) -> dict[str, Any]:
        """Returns what the chief gives here; all workers call it together, and wait for it.

        Args:
            value: JSON values; those of other workers are not looked at.
        """
        if self.num_workers == 1:
            return value
        text = np.frombuffer(json.dumps(value).encode(), np.uint8)
        (length,) = self._values_of_chief([np.array([len(text)])])
        # In pages, so that a text of another length is not another graph.
        padded = np.zeros(-(-int(length[0]) // _PAGE) * _PAGE, np.uint8)
        if self.is_chief:
            padded[: len(text)] = text
        (padded,) = self._values_of_chief([padded])
        told: dict[str, Any] = json.loads(padded[: int(length[0])].tobytes())
        return told

    def from_each(self, own: np.ndarray) -> np.ndarray:
        """Returns what each worker gives here, one below the other; all call it together.

        Args:
            own: int32 `(rows, …)`, of the same shape on every worker.

        Returns: int32 `(num_workers * rows, …)`, those of the chief first.

        Raises: WorkerError when another worker does not answer.
        """
        if self.num_workers == 1:
            return own
        # Everyone fills in its place and leaves the others at zero: the sum is all of them.
        sent = np.zeros((self.num_workers, *own.shape), np.float64)
        sent[self.worker] = own
        with self.telling_of_lost_workers():
            received: np.ndarray = self._sent_by_each(tf.constant(sent)).numpy()
        return received.astype(np.int32).reshape(-1, *own.shape[1:])

    def check_alike(self, what: str, fingerprint: str) -> None:
        """Refuses to go on when a worker has something else than the chief has.

        Args:
            what: str, such as "the same configuration", for the message.
            fingerprint: str, of what this worker has.

        Raises: WorkerError on every worker that differs.
        """
        wanted = self.from_chief({"fingerprint": fingerprint})["fingerprint"]
        if wanted != fingerprint:
            raise WorkerError(
                f"Worker {self.worker} does not have {what} as worker 0. Give all workers the same "
                "configuration, the same tables, the same language model and the same versions of "
                "all packages."
            )

    @contextlib.contextmanager
    def telling_of_lost_workers(self) -> Iterator[None]:
        """Turns the errors of collective operations into one that says what to do.

        Raises: WorkerError when another worker stopped or does not answer.
        """
        if self.num_workers == 1:
            yield
            return
        try:
            yield
        except (
            tf.errors.UnavailableError,
            tf.errors.AbortedError,
            tf.errors.CancelledError,
            tf.errors.DeadlineExceededError,
            tf.errors.FailedPreconditionError,
        ) as error:
            raise WorkerError(
                f"Worker {self.worker} lost another worker of the {self.num_workers} "
                f"({type(error).__name__}: {_reason(error)}). The log of that one says why it "
                "stopped. The last finished epoch is kept: start all workers again with --resume."
            ) from error

    def _sum_with_zeros(self, *tensors: Any) -> Any:
        """Returns what the first replica gives, to all: the others give zeros."""

        def own(*tensors: Any) -> Any:
            context = tf.distribute.get_replica_context()
            is_first = tf.equal(context.replica_id_in_sync_group, 0)
            mine = [tf.where(is_first, tensor, tf.zeros_like(tensor)) for tensor in tensors]
            # No time limit: the chief may measure, or encode a corpus, meanwhile.
            return context.all_reduce(tf.distribute.ReduceOp.SUM, mine)

        results = self._strategy.run(own, args=tensors)
        return [self._strategy.experimental_local_results(result)[0] for result in results]

    def _sum_over_workers(self, tensor: Any) -> Any:
        """Returns the sum of what the workers give; of each, the first replica counts."""
        of_a_worker = self.count // self.num_workers

        def own(tensor: Any) -> Any:
            context = tf.distribute.get_replica_context()
            is_first = tf.equal(context.replica_id_in_sync_group % of_a_worker, 0)
            mine = tf.where(is_first, tensor, tf.zeros_like(tensor))
            return context.all_reduce(tf.distribute.ReduceOp.SUM, mine, options=self._options)

        result = self._strategy.run(own, args=(tensor,))
        return self._strategy.experimental_local_results(result)[0]

    def _values_of_chief(self, values: Sequence[np.ndarray]) -> list[np.ndarray]:
        # Whole numbers go as float64, which holds them exactly and which every device can sum.
        sent = [v if v.dtype == np.float32 else v.astype(np.float64) for v in values]
        received: list[Any] = [None] * len(values)
        for dtype in (np.float32, np.float64):  # one operation packs tensors of one type alone
            places = [place for place, value in enumerate(sent) if value.dtype == dtype]
            if not places:
                continue
            with self.telling_of_lost_workers():
                results = self._sent_by_chief(*(tf.constant(sent[place]) for place in places))
                for place, result in zip(places, results, strict=True):
                    received[place] = result.numpy()
        return [r.astype(v.dtype) for r, v in zip(received, values, strict=True)]


def _reason(error: Any) -> str:
    """Returns what a collective operation says of its end, without where it stood in the graph."""
    reason = str(error.message).split("Collective ops is aborted by: ")[-1]
    for further in ("Additional GRPC error information", "The error could be from a previous"):
        reason = reason.split(further)[0]
    return " ".join(reason.split())[:300] or "no reason given"


class _OnAllReplicas:
    """A variable of a replicated model, seen from outside: one value on all its devices."""

    def __init__(self, variable: Any, strategy: Any) -> None:
        self.path, self.shape, self.dtype = variable.path, variable.shape, variable.dtype
        self._copies = strategy.experimental_local_results(variable.value)

    @property
    def value(self) -> Any:
        return self._copies[0]

    def assign(self, value: Any) -> None:
        for copy in self._copies:
            copy.assign(tf.cast(value, copy.dtype))


def make_replicas(kind: str, worker_timeout: float = WORKER_TIMEOUT) -> Replicas:
    """Makes the replicas of a training. For several workers, call it before anything else.

    Args:
        kind: `none`; `mirrored`, over all GPUs of this machine, or its CPU devices where it has
            none; or `multi_worker`, over the machines that the environment variable TF_CONFIG
            names, where it waits until all have started.
        worker_timeout: float > 0, seconds that a step waits for the other workers.

    Returns: `Replicas`.

    Raises:
        UsageError: when TF_CONFIG is missing or wrong, or TensorFlow was used already.
        WorkerError: when the workers cannot reach each other.

    Example:
        >>> make_replicas("none").count
        1
    """
    if kind == "none":
        return Replicas()
    if kind == "mirrored":
        devices = tf.config.list_logical_devices("GPU") or tf.config.list_logical_devices("CPU")
        return Replicas(tf.distribute.MirroredStrategy([device.name for device in devices]))
    _check_cluster(os.environ.get("TF_CONFIG", ""))
    options = tf.distribute.experimental.CommunicationOptions()
    try:
        strategy = tf.distribute.MultiWorkerMirroredStrategy(communication_options=options)
    except RuntimeError as error:
        raise UsageError(
            "train.strategy `multi_worker` must be set up before TensorFlow is used, and this "
            f"process has used it ({error}). Train in a process of its own: tfrec-llm train."
        ) from error
    except tf.errors.OpError as error:
        raise WorkerError(
            f"The workers did not find together ({type(error).__name__}: {_reason(error)}). See "
            "that every address of TF_CONFIG can be reached from every worker, that no other "
            "process has its port, and that all were started; then start all of them again."
        ) from error
    return Replicas(strategy, worker_timeout)


def _check_cluster(text: str) -> None:
    """Raises UsageError when TF_CONFIG names no cluster, or no place of this process in it."""
    try:
        content = json.loads(text)
        cluster, task = content["cluster"], content["task"]
        addresses = cluster[task["type"]]
        is_right = set(cluster) <= {"chief", "worker"} and 0 <= int(task["index"]) < len(addresses)
    except (ValueError, TypeError, KeyError):
        is_right = False
    if not is_right:
        raise UsageError(
            f"train.strategy `multi_worker` reads the machines from the environment variable "
            f"TF_CONFIG, which is {text!r}. Set it as in "
            '{"cluster": {"worker": ["host0:2222", "host1:2222"]}, "task": {"type": "worker", '
            '"index": 0}}, with another index in each process, or start them with '
            "training/launch_local.py."
        )
