"""Built parts → trained weights: one phase of training, which can be killed and resumed."""

from __future__ import annotations

import math
import time
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from tfrec_llm.errors import CheckpointError, DivergedError
from tfrec_llm.keras_api import tf
from tfrec_llm.losses.gradient_caching import random_states_of
from tfrec_llm.models.retrieval_model import RetrievalModel
from tfrec_llm.models.variables_file import read_state, restore_variables, save_variables
from tfrec_llm.progress import Progress, Silent
from tfrec_llm.seeds import child_generator, child_seed
from tfrec_llm.trainer.optimizer import make_optimizer
from tfrec_llm.trainer.replicas import Replicas
from tfrec_llm.trainer.sequences import SequenceDataset
from tfrec_llm.trainer.shard_dataset import ShardDataset
from tfrec_llm.trainer.shared_batches import SharedBatches


@dataclass(frozen=True)
class Optimisation:
    """How to optimise; see the section `train` of the configuration for the meaning.

    Attributes:
        epochs: int, length of the learning-rate schedule.
        stop_after: int, epochs really run (≤ epochs); the refit stops where selection was best.
        encoder_learning_rate: float, of the top layer of a language model that is trained along.
        layer_decay: float, what each layer of it has of the learning rate of the one above.
    """

    batch_size: int = 256
    epochs: int = 10
    stop_after: int = 10
    learning_rate: float = 1e-3
    encoder_learning_rate: float = 2e-5
    layer_decay: float = 0.9
    weight_decay: float = 0.05
    warmup_share: float = 0.1
    uniform_negatives: int = 2048
    max_positives: int = 4096
    text_only_share: float = 0.2
    text_search_weight: float = 0.2
    patience: int = 2
    seed: int = 7


@dataclass
class FitResult:
    """What came of a phase.

    Attributes:
        best_epoch: int; 0 is the untrained start.
        best_metric: float, validation NDCG@10 there; NaN without an evaluation.
        metrics: validation NDCG@10 of epoch 0, 1, 2 …
        losses: mean training loss of epoch 1, 2 …
        seconds: wall-clock time of the epochs run, over all resumes.
    """

    best_epoch: int = 0
    best_metric: float = math.nan
    metrics: list[float] = field(default_factory=list)
    losses: list[float] = field(default_factory=list)
    seconds: float = 0.0


def fit(
    model: RetrievalModel,
    dataset: SequenceDataset | ShardDataset | SharedBatches,
    corpus_features: np.ndarray,
    user_features: np.ndarray,
    positive_share: np.ndarray,
    optimisation: Optimisation,
    *,
    folder: Path,
    phase: str,
    fingerprint: str,
    encoder_levels: Sequence[Sequence[Any]] = (),
    evaluate: Callable[[], float] | None = None,
    after_epoch: Callable[[int, float], bool] | None = None,
    resume: bool = False,
    log_folder: Path | None = None,
    progress: Progress | None = None,
    replicas: Replicas | None = None,
) -> FitResult:
    """Trains a model, leaving in it the weights of the best epoch (or the last, unevaluated).

    After each epoch the whole state (weights, optimiser, random states, history) is saved as
    one file, `PHASE-last.safetensors`; a resumed run goes on from there with the same batches
    that the unbroken run would have had.

    Of several workers each calls this with the same arguments. The chief alone evaluates and
    touches the disk, and it alone has the best weights at the end; the others start from what
    it has, and end with the weights of the last epoch.

    Args:
        model: `RetrievalModel`, set to its start; made in the scope of the replicas.
        dataset: `SequenceDataset`, `ShardDataset` or `SharedBatches`.
        corpus_features: float32 `(num_items, feature_dim)`, or float16 token vectors
            `(num_items, tokens, feature_dim)`, or int32 tokens `(num_items, tokens)` for a
            language model in training; copies of all items may follow, see `variant_rows`.
        user_features: `(num_texts, …)` of the same kind, row r is the text of `dataset.rows == r`.
        positive_share: float32 `(num_items,)`, share of each item in the training positives.
        optimisation: `Optimisation`.
        folder: where the checkpoints lie.
        phase: str, a name for this training among others in the folder.
        encoder_levels: variables of a language model that is trained along, by layer, the top one
            first.
        fingerprint: str, hash of the configuration and data; a checkpoint of another is refused.
        evaluate: returns the validation NDCG@10 of the model as it stands; stops early if given.
        after_epoch: takes each epoch, from 0, and what `evaluate` said of it; the training ends
            where it answers false.
        resume: bool, go on from a checkpoint if there is one.
        log_folder: for TensorBoard.
        progress: listener.
        replicas: what trains as one. Defaults to one replica, in this process.

    Returns: `FitResult`.

    Raises:
        CheckpointError: when a checkpoint belongs to another configuration.
        DivergedError: when the loss is no longer a number.
        WorkerError: when another worker stopped, or does not answer.
    """
    progress, replicas = progress or Silent(), replicas or Replicas()
    last, best = folder / f"{phase}-last.safetensors", folder / f"{phase}-best.safetensors"
    steps = dataset.num_batches(optimisation.batch_size)
    with replicas.scope():
        optimizer = make_optimizer(
            model.trainable_variables,
            total_steps=max(1, optimisation.epochs * max(1, steps)),
            learning_rate=optimisation.learning_rate,
            weight_decay=optimisation.weight_decay,
            warmup_share=optimisation.warmup_share,
            encoder_levels=encoder_levels,
            encoder_learning_rate=optimisation.encoder_learning_rate,
            layer_decay=optimisation.layer_decay,
        )
    of_model = replicas.whole(model.variables)
    everything = [*of_model, *replicas.whole(optimizer.variables)]
    result = FitResult()
    if replicas.is_chief and resume and last.exists():
        if read_state(last)["fingerprint"] != fingerprint:
            raise CheckpointError(
                f"{last} was written with another configuration or other data. Use a new --out "
                "folder, or the configuration saved in the run's config.yaml."
            )
        result = FitResult(**restore_variables(last, everything)["result"])
        progress.message(f"{phase}: resumed after epoch {len(result.losses)}")
    result = FitResult(**replicas.from_chief(result.__dict__))
    replicas.share_variables([*model.variables, *optimizer.variables])
    writer = None
    if log_folder and replicas.is_chief:
        writer = tf.summary.create_file_writer(str(log_folder / phase))

    def measure_and_save(epoch: int) -> bool:
        if evaluate is not None:
            metric = evaluate()
            result.metrics.append(metric)
            if not result.metrics[:-1] or metric > result.best_metric:
                result.best_epoch, result.best_metric = epoch, metric
                save_variables(best, of_model, {"epoch": epoch})
        else:
            result.best_epoch = epoch
        state = {"fingerprint": fingerprint, "result": result.__dict__}
        save_variables(last, everything, state)
        if writer is not None:
            with writer.as_default(step=epoch):
                if result.losses:
                    tf.summary.scalar("loss", result.losses[-1])
                if result.metrics:
                    tf.summary.scalar("validation/ndcg@10", result.metrics[-1])
            writer.flush()
        return after_epoch is None or after_epoch(epoch, result.metrics[-1])

    def finish_epoch(epoch: int) -> bool:
        """Measures and saves on the chief; returns, to all, whether the training goes on."""
        nonlocal result
        goes_on = measure_and_save(epoch) if replicas.is_chief else False
        told = replicas.from_chief({"goes_on": goes_on, "result": result.__dict__})
        result = FitResult(**told["result"])
        return bool(told["goes_on"])

    goes_on = True
    if not result.metrics and not result.losses:
        goes_on = finish_epoch(0)
    train_step = _train_step(
        model,
        optimizer,
        corpus_features,
        user_features,
        positive_share,
        optimisation.text_search_weight,
        replicas,
    )
    for epoch in range(len(result.losses) + 1, optimisation.stop_after + 1):
        is_measured = bool(result.metrics)
        if is_measured and epoch - 1 - result.best_epoch >= optimisation.patience:
            break
        if not goes_on:
            break
        begin = time.monotonic()
        with replicas.telling_of_lost_workers():
            loss, batches = _run_epoch(
                train_step, dataset, optimisation, len(positive_share), epoch, progress, phase
            )
        # Each replica looks up its part of what it takes to be the batch of all.
        replicas.check_alike(f"the same batches in epoch {epoch}", batches)
        if not math.isfinite(loss):
            raise DivergedError(
                f"The training loss of epoch {epoch} is {loss}. Lower train.learning_rate (now "
                f"{optimisation.learning_rate}) or raise train.temperature, and train again."
            )
        result.losses.append(loss)
        result.seconds += time.monotonic() - begin
        goes_on = finish_epoch(epoch)
        metric = f", validation NDCG@10 {result.metrics[-1]:.4f}" if result.metrics else ""
        progress.message(f"{phase}: epoch {epoch}, loss {loss:.4f}{metric}")
    if evaluate is not None and replicas.is_chief:
        restore_variables(best, of_model)
    return result


def _run_epoch(
    train_step: Any,
    dataset: SequenceDataset | ShardDataset | SharedBatches,
    optimisation: Optimisation,
    num_items: int,
    epoch: int,
    progress: Progress,
    phase: str,
) -> tuple[float, str]:
    """Returns the mean loss, and a checksum of what the steps were given."""
    seed = optimisation.seed
    generator = child_generator(seed, phase, "draws", epoch)
    steps = dataset.num_batches(optimisation.batch_size)
    losses, checksum = [], 0
    begin = time.monotonic()
    for step, batch in enumerate(
        dataset.batches(optimisation.batch_size, seed=child_seed(seed, phase), epoch=epoch), start=1
    ):
        hide = (generator.random(len(batch.user_rows)) < optimisation.text_only_share) & (
            batch.user_rows >= 0
        )
        negatives = generator.integers(num_items, size=optimisation.uniform_negatives)
        checksum = zlib.crc32(batch.sequences.tobytes(), checksum)
        checksum = zlib.crc32(batch.user_rows.tobytes(), checksum)
        if batch.gaps is not None:
            checksum = zlib.crc32(batch.gaps.tobytes(), checksum)
        losses.append(
            train_step(
                tf.constant(batch.sequences),
                tf.constant(batch.user_rows),
                tf.constant(batch.user_numbers),
                tf.constant(hide),
                tf.constant(negatives.astype(np.int32)),
                tf.constant(generator.integers(2**31 - 1, size=2).astype(np.int32)),
                tf.constant(optimisation.max_positives),
                *([] if batch.gaps is None else [tf.constant(batch.gaps)]),
            )
        )
        rate = step / max(time.monotonic() - begin, 1e-9)
        progress.advance(f"{phase} epoch {epoch}", step, steps, f"{rate:.1f} steps/s")
    mean = float(np.mean([float(loss) for loss in losses])) if losses else 0.0
    return mean, f"{checksum:08x}"


def _train_step(
    model: RetrievalModel,
    optimizer: Any,
    corpus_features: np.ndarray,
    user_features: np.ndarray,
    positive_share: np.ndarray,
    text_search_weight: float,
    replicas: Replicas,
) -> Any:
    # One row of zeros stands in for users without a text.
    texts = np.zeros((len(user_features) + 1, *corpus_features.shape[1:]), corpus_features.dtype)
    texts[: len(user_features)] = user_features
    share = positive_share.astype(np.float32)
    constants = [replicas.constant(array) for array in (corpus_features, texts, share)]
    variables, random_states = model.trainable_variables, random_states_of(model)
    specs = [
        tf.TensorSpec([None, None], tf.int32),
        tf.TensorSpec([None], tf.int32),
        tf.TensorSpec([None], tf.int32),
        tf.TensorSpec([None], tf.bool),
        tf.TensorSpec([None], tf.int32),
        tf.TensorSpec([2], tf.int32),
        tf.TensorSpec([], tf.int32),
    ]
    if model.time_gaps:
        specs.append(tf.TensorSpec([None, None], tf.int32))

    @tf.function(input_signature=specs, autograph=False)
    def step(*inputs: Any) -> Any:
        return replicas.run(replica_step, [*constants, *inputs])

    def replica_step(
        corpus: Any,
        user_texts: Any,
        share: Any,
        sequences: Any,
        user_rows: Any,
        user_numbers: Any,
        hide: Any,
        negatives: Any,
        seed: Any,
        max_positives: Any,
        gaps: Any = None,
    ) -> Any:
        replicas.seed(random_states, seed)
        rows = tf.where(user_rows >= 0, user_rows, len(user_features))
        with tf.GradientTape() as tape:
            loss = model.training_loss(
                {
                    "sequences": sequences,
                    "user_features": tf.gather(user_texts, rows),
                    "user_text_mask": user_rows >= 0,
                    "user_numbers": user_numbers,
                    "hide_history": hide,
                    "negatives": negatives,
                    "corpus_features": corpus,
                    "positive_share": share,
                    "max_positives": max_positives,
                    "seed": seed,
                    "text_search_weight": text_search_weight,
                    "gaps": gaps,
                    "part": replicas.part(),
                }
            )
        gradients = tape.gradient(loss, [v.value for v in variables])
        dense = [
            tf.zeros_like(v.value) if g is None else tf.convert_to_tensor(g)
            for g, v in zip(gradients, variables, strict=True)
        ]
        *dense, loss = replicas.sum([*dense, loss])
        optimizer.apply(dense, variables)
        return loss

    return step
