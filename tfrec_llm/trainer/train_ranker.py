"""A pointwise ranker, trained on pairs that were taken and pairs that were sampled."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from tfrec_llm.data.queries import Queries
from tfrec_llm.errors import TfrecLlmError
from tfrec_llm.keras_api import keras, tf
from tfrec_llm.models.pointwise_ranker import PointwiseRanker
from tfrec_llm.models.ranker_features import RankerFeatures
from tfrec_llm.models.ranking_task import RankingTask
from tfrec_llm.progress import Progress, Silent
from tfrec_llm.seeds import child_generator
from tfrec_llm.trainer.ranking_pairs import RankingPairs, sample_pairs

MAX_PAIRS = 100_000


@dataclass(frozen=True)
class RankingExamples:
    """What pairs are sampled from, anew in each epoch.

    Attributes:
        cases: n cases with their targets.
        owners: int `(n,)`, the user number of each case.
        own_items: for each user number the items that are never a negative.
        candidates: int32 `(num_users, C)`, what the retriever would offer, -1 for nothing.
    """

    cases: Queries
    owners: np.ndarray
    own_items: Sequence[np.ndarray]
    candidates: np.ndarray


@dataclass(frozen=True)
class RankerOptimisation:
    """How to optimise; see the section `ranker` of the configuration.

    Attributes:
        max_pairs: int, pairs of an epoch at most, a seeded sample of the cases.
        patience: int, epochs without a better AUC before it stops.
    """

    batch_size: int = 256
    epochs: int = 5
    learning_rate: float = 1e-3
    negatives: int = 4
    hard_share: float = 0.5
    max_pairs: int = MAX_PAIRS
    patience: int = 2
    seed: int = 7


@dataclass
class RankerFit:
    """What came of it.

    Attributes:
        best_epoch: int, 1 is the first.
        best_auc: float, on validation; NaN without an evaluation.
        aucs: validation AUC of each epoch.
        losses: mean binary cross-entropy of each epoch, in training.
        accuracies: share of the training pairs on the right side of a probability of 0.5.
        pairs_per_epoch: int.
        seconds: wall-clock time.
    """

    best_epoch: int = 0
    best_auc: float = math.nan
    aucs: list[float] = field(default_factory=list)
    losses: list[float] = field(default_factory=list)
    accuracies: list[float] = field(default_factory=list)
    pairs_per_epoch: int = 0
    seconds: float = 0.0


def fit_ranker(
    ranker: PointwiseRanker,
    features: RankerFeatures,
    examples: RankingExamples,
    optimisation: RankerOptimisation,
    *,
    phase: str = "ranker",
    evaluate: Callable[[], float] | None = None,
    progress: Progress | None = None,
) -> RankerFit:
    """Trains with Adam on binary cross-entropy; leaves the weights of the best epoch.

    Args:
        ranker: `PointwiseRanker`, fresh.
        features: `RankerFeatures`.
        examples: `RankingExamples`.
        optimisation: `RankerOptimisation`.
        phase: str, names the draws and the messages.
        evaluate: returns the validation AUC of the ranker as it stands; None keeps the last
            epoch's weights.
        progress: listener.

    Returns: `RankerFit`.

    Raises: TfrecLlmError when the loss is no longer a number.
    """
    progress = progress or Silent()
    begin = time.monotonic()
    ranker.set_start(features.item_tokens, 1.0 / (1.0 + optimisation.negatives), optimisation.seed)
    optimizer = keras.optimizers.Adam(optimisation.learning_rate, global_clipnorm=5.0)
    optimizer.build(ranker.trainable_variables)
    step = _train_step(ranker, features, optimizer)
    result = RankerFit()
    best: list[np.ndarray] = []
    for epoch in range(1, optimisation.epochs + 1):
        if evaluate is not None and epoch - 1 - result.best_epoch >= optimisation.patience:
            break
        pairs = _pairs_of_epoch(examples, features, optimisation, phase, epoch)
        result.pairs_per_epoch = len(pairs)
        loss, accuracy = _run_epoch(step, ranker, features, pairs, optimisation, epoch, progress)
        if not math.isfinite(loss):
            raise TfrecLlmError(
                f"The ranker's training loss of epoch {epoch} is {loss}. Lower "
                f"ranker.learning_rate (now {optimisation.learning_rate}) and train again."
            )
        result.losses.append(loss)
        result.accuracies.append(accuracy)
        figures = f"{phase}: epoch {epoch}, loss {loss:.4f}, accuracy {accuracy:.3f}"
        if evaluate is None:
            result.best_epoch = epoch
        else:
            auc = evaluate()
            figures += f", validation AUC {auc:.4f}"
            result.aucs.append(auc)
            if epoch == 1 or auc > result.best_auc:
                result.best_epoch, result.best_auc = epoch, auc
                best = [np.array(v.value) for v in ranker.variables]
        progress.message(figures)
    for variable, value in zip(ranker.variables, best, strict=False):
        variable.assign(value)
    result.seconds = time.monotonic() - begin
    return result


def _pairs_of_epoch(
    examples: RankingExamples,
    features: RankerFeatures,
    optimisation: RankerOptimisation,
    phase: str,
    epoch: int,
) -> RankingPairs:
    generator = child_generator(optimisation.seed, phase, "pairs", epoch)
    num_cases = len(examples.cases)
    most = max(1, optimisation.max_pairs // (1 + optimisation.negatives))
    rows = np.sort(generator.permutation(num_cases)[:most])
    return sample_pairs(
        examples.cases.take(rows),
        examples.own_items,
        examples.owners[rows],
        len(features.item_tokens),
        generator,
        num_negatives=optimisation.negatives,
        hard_share=optimisation.hard_share,
        candidates=examples.candidates,
    )


def _run_epoch(
    step: Any,
    ranker: PointwiseRanker,
    features: RankerFeatures,
    pairs: RankingPairs,
    optimisation: RankerOptimisation,
    epoch: int,
    progress: Progress,
) -> tuple[float, float]:
    histories, texts = features.rows_of(pairs.cases, ranker.max_history)
    generator = child_generator(optimisation.seed, "ranker shuffle", epoch)
    order = generator.permutation(len(pairs))
    size, begin = optimisation.batch_size, time.monotonic()
    num_steps = -(-len(order) // size)
    totals = np.zeros(2)
    for number in range(num_steps):
        batch = order[number * size : (number + 1) * size]
        rows = pairs.rows[batch]
        figures = step(
            tf.constant(histories[rows]),
            tf.constant(texts[rows]),
            tf.constant(pairs.items[batch]),
            tf.constant(pairs.labels[batch]),
        )
        totals += np.asarray(figures.numpy(), np.float64) * len(batch)
        rate = (number + 1) * size / max(time.monotonic() - begin, 1e-9)
        progress.advance(f"ranker epoch {epoch}", number + 1, num_steps, f"{rate:.0f} pairs/s")
    loss, accuracy = totals / max(1, len(order))
    return float(loss), float(accuracy)


def _train_step(ranker: PointwiseRanker, features: RankerFeatures, optimizer: Any) -> Any:
    item_tokens = tf.constant(features.item_tokens)
    item_vectors = tf.constant(features.item_vectors)
    text_tokens = tf.constant(features.padded_text_tokens())
    task = RankingTask()
    variables = ranker.trainable_variables

    @tf.function(
        input_signature=[
            tf.TensorSpec([None, None], tf.int32),
            tf.TensorSpec([None], tf.int32),
            tf.TensorSpec([None], tf.int32),
            tf.TensorSpec([None], tf.float32),
        ],
        autograph=False,
    )
    def step(histories: Any, texts: Any, items: Any, labels: Any) -> Any:
        known = tf.cast(histories >= 0, item_vectors.dtype)[:, :, None]
        history = tf.gather(item_vectors, tf.maximum(histories, 0)) * known
        text = tf.gather(text_tokens, texts)
        item = tf.gather(item_tokens, items)
        with tf.GradientTape() as tape:
            user = tf.concat([ranker.project_tokens(text), ranker.project_history(history)], axis=1)
            logits = ranker.logits(user, ranker.project_tokens(item), training=True)
            loss = task(labels, logits)
        gradients = tape.gradient(loss, [v.value for v in variables])
        optimizer.apply([tf.convert_to_tensor(g) for g in gradients], variables)
        right = tf.cast((logits > 0.0) == (labels > 0.5), tf.float32)
        return tf.stack([loss, tf.reduce_mean(right)])

    return step
