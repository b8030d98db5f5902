"""Masked language modelling: token windows → trained weights, which can be killed and resumed."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from tfrec_llm.encoders.length_batches import BUCKET_TOKENS
from tfrec_llm.errors import CheckpointError, DataError, TfrecLlmError
from tfrec_llm.keras_api import keras, tf
from tfrec_llm.pretraining.halves_loss import halves, halves_loss
from tfrec_llm.pretraining.mask_tokens import mask_tokens
from tfrec_llm.pretraining.masked_language_model import MaskedLanguageModel
from tfrec_llm.progress import Progress, Silent
from tfrec_llm.seeds import child_generator
from tfrec_llm.variables_file import read_state, restore_variables, save_variables

_SHUFFLED_BATCHES = 50  # windows of so many batches are sorted by length together
_LAST, _BEST = "last.safetensors", "best.safetensors"


@dataclass(frozen=True)
class MaskedLmOptions:
    """How to train.

    Attributes:
        epochs: int ≥ 1, passes over the training windows.
        steps: int, steps in all instead of `epochs`; None for epochs.
        batch_size: int, windows in a step.
        learning_rate: float, at its highest: it rises for a tenth of the steps, then falls.
        mask_share: float in (0, 1), of the tokens that must be guessed.
        halves_weight: float ≥ 0, weight of the loss that makes the two halves of a text find each
            other among those of the batch; 0 leaves it out.
        seed: int.
    """

    epochs: int = 20
    steps: int | None = None
    batch_size: int = 32
    learning_rate: float = 1e-3
    mask_share: float = 0.15
    halves_weight: float = 1.0
    seed: int = 7


@dataclass
class LearningCurve:
    """What came of the training.

    Attributes:
        best_epoch: int, the epoch of the least held-out loss, whose weights are kept; 0 is the
            start.
        most_frequent_token: str, in the training windows.
        most_frequent_token_accuracy: float, held-out accuracy of always guessing it: the floor.
        epochs: dicts of `epoch`, `training_loss` (None at the start), `held_out_loss` and
            `held_out_accuracy` of the hidden tokens, and `held_out_halves`, the share of held-out
            texts whose halves find each other in a batch.
        seconds: float, of all epochs, over all resumes.
    """

    best_epoch: int = 0
    most_frequent_token: str = ""
    most_frequent_token_accuracy: float = 0.0
    epochs: list[dict[str, Any]] = field(default_factory=list)
    seconds: float = 0.0


@dataclass(frozen=True)
class _Batch:
    token_ids: np.ndarray
    padding_mask: np.ndarray
    places: np.ndarray
    labels: np.ndarray
    one_half: np.ndarray
    other_half: np.ndarray


class _Batches:
    """Windows → masked batches of like length, another masking in each step."""

    def __init__(self, tokenizer: Any, options: MaskedLmOptions) -> None:
        vocabulary = tokenizer.get_vocabulary()
        special = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")
        numbers = np.arange(len(vocabulary))
        is_special = np.isin(numbers, [tokenizer.token_to_id(token) for token in special])
        self.pad = int(tokenizer.pad_token_id)
        self.mask = int(tokenizer.mask_token_id)
        self.is_special = is_special
        self.ordinary_ids = numbers[~is_special]
        self.options = options

    def of_epoch(self, windows: Sequence[np.ndarray], epoch: int) -> Iterator[_Batch]:
        generator = child_generator(self.options.seed, "order", epoch)
        lengths = np.array([len(window) for window in windows])
        size = self.options.batch_size
        order = generator.permutation(len(windows))
        groups = []
        for first in range(0, len(order), size * _SHUFFLED_BATCHES):
            part = order[first : first + size * _SHUFFLED_BATCHES]
            part = part[np.argsort(lengths[part], kind="stable")]
            groups += [part[place : place + size] for place in range(0, len(part), size)]
        for step, number in enumerate(generator.permutation(len(groups))):
            chance = child_generator(self.options.seed, "mask", epoch, step)
            yield self._masked([windows[row] for row in groups[number]], chance)

    def held_out(self, windows: Sequence[np.ndarray]) -> list[_Batch]:
        chance = child_generator(self.options.seed, "mask of the held-out texts")
        ordered = sorted(windows, key=len)
        size = self.options.batch_size
        return [
            self._masked(ordered[first : first + size], chance)
            for first in range(0, len(ordered), size)
        ]

    def _masked(self, windows: Sequence[np.ndarray], chance: np.random.Generator) -> _Batch:
        token_ids = self._padded(windows)
        lengths = np.array([len(window) for window in windows])
        seen, chosen = mask_tokens(
            token_ids,
            ~self.is_special[token_ids],
            mask_token_id=self.mask,
            ordinary_ids=self.ordinary_ids,
            generator=chance,
            mask_share=self.options.mask_share,
        )
        padding_mask = (np.arange(token_ids.shape[1]) < lengths[:, None]).astype(np.int32)
        places = np.flatnonzero(chosen).astype(np.int32)
        one, other = zip(*(halves(window, chance) for window in windows), strict=True)
        ends = (self._padded(one), self._padded(other))
        return _Batch(seen, padding_mask, places, token_ids[chosen], *ends)

    def _padded(self, windows: Sequence[np.ndarray]) -> np.ndarray:
        longest = max(len(window) for window in windows)
        width = -(-longest // BUCKET_TOKENS) * BUCKET_TOKENS
        token_ids = np.full((len(windows), width), self.pad, np.int32)
        for row, window in enumerate(windows):
            token_ids[row, : len(window)] = window
        return token_ids


def train_masked_lm(
    model: MaskedLanguageModel,
    tokenizer: Any,
    train_windows: Sequence[np.ndarray],
    held_out_windows: Sequence[np.ndarray],
    options: MaskedLmOptions,
    *,
    folder: Path,
    fingerprint: str,
    resume: bool = False,
    progress: Progress | None = None,
) -> LearningCurve:
    """Trains a masked language model, leaving in it the weights of the best epoch.

    After each epoch the whole state is saved; a resumed training goes on from there with the
    batches, masks and drop-outs that the unbroken one would have had.

    Args:
        model: set to its start.
        tokenizer: the BERT tokenizer of the windows.
        train_windows: int32 `(tokens,)` each, of `token_windows`.
        held_out_windows: the same, of texts that are not trained on; masked alike each time.
        options: `MaskedLmOptions`.
        folder: where the state lies.
        fingerprint: str, hash of corpus and settings; the state of another is refused.
        resume: bool, go on from the state if there is one.
        progress: listener.

    Returns: `LearningCurve`.

    Raises:
        DataError: when there is nothing to guess.
        CheckpointError: when the state belongs to another training.
        TfrecLlmError: when the loss is no longer a number.
    """
    progress = progress or Silent()
    batches = _Batches(tokenizer, options)
    counts = np.zeros(len(batches.is_special), np.int64)
    for window in train_windows:
        np.add.at(counts, window, 1)
    counts[batches.is_special] = 0
    held_out = batches.held_out(held_out_windows)
    if counts.sum() == 0 or not any(len(batch.labels) for batch in held_out):
        raise DataError(
            "There is no token to guess: the vocabulary knows no word of the corpus. Give more "
            "texts, a larger --vocabulary-size, or --add-tokens."
        )
    epoch_steps = -(-len(train_windows) // options.batch_size)
    total = options.steps or options.epochs * epoch_steps
    optimizer = _optimizer(options.learning_rate, total)
    optimizer.build(model.trainable_variables)
    everything = [*model.variables, *optimizer.variables]
    train_step = _train_step(model, optimizer, batches.pad, options.halves_weight)
    evaluate = _evaluation(model, batches.pad, options.halves_weight)
    last, best = folder / _LAST, folder / _BEST
    curve = LearningCurve()
    if resume and last.exists():
        if read_state(last)["fingerprint"] != fingerprint:
            raise CheckpointError(
                f"{last} was written with another corpus or other settings. Give those it was "
                f"begun with, or delete {folder} to begin anew."
            )
        curve = LearningCurve(**restore_variables(last, everything)["curve"])
        progress.message(f"resumed after epoch {curve.epochs[-1]['epoch']}")
    else:
        frequent = int(counts.argmax())
        labels = np.concatenate([batch.labels for batch in held_out])
        curve.most_frequent_token = tokenizer.id_to_token(frequent)
        curve.most_frequent_token_accuracy = float(np.mean(labels == frequent))

    def finish(epoch: int, training_loss: float | None) -> None:
        loss, accuracy, found = evaluate(held_out)
        before = [row["held_out_loss"] for row in curve.epochs]
        curve.epochs.append(
            {
                "epoch": epoch,
                "training_loss": training_loss,
                "held_out_loss": loss,
                "held_out_accuracy": accuracy,
                "held_out_halves": found,
            }
        )
        if not before or loss < min(before):
            curve.best_epoch = epoch
            save_variables(best, model.variables, {"epoch": epoch})
        save_variables(last, everything, {"fingerprint": fingerprint, "curve": asdict(curve)})
        if training_loss is not None:
            progress.message(
                f"epoch {epoch}: loss {training_loss:.3f}, held-out loss {loss:.3f}, "
                f"held-out accuracy {accuracy:.3f}, halves found {found:.3f}"
            )

    if not curve.epochs:
        finish(0, None)
    for epoch in range(len(curve.epochs), -(-total // epoch_steps) + 1):
        began, losses = time.monotonic(), []
        steps = min(epoch_steps, total - (epoch - 1) * epoch_steps)
        for step, batch in zip(range(steps), batches.of_epoch(train_windows, epoch), strict=False):
            losses.append(train_step(*_tensors(batch)))
            progress.advance("pretrain", (epoch - 1) * epoch_steps + step + 1, total)
        loss = float(np.mean([float(value) for value in losses]))
        if not math.isfinite(loss):
            raise TfrecLlmError(
                f"The training loss of epoch {epoch} is {loss}. Lower --learning-rate (now "
                f"{options.learning_rate}) and begin again."
            )
        curve.seconds += time.monotonic() - began
        finish(epoch, loss)
    restore_variables(best, model.variables)
    return curve


def _tensors(batch: _Batch) -> list[Any]:
    arrays = (batch.token_ids, batch.padding_mask, batch.places, batch.labels)
    halves_of = (batch.one_half, batch.other_half)
    return [tf.constant(array, tf.int32) for array in (*arrays, *halves_of)]


_ROWS, _ONE_ROW = tf.TensorSpec((None, None), tf.int32), tf.TensorSpec((None,), tf.int32)
_SIGNATURE = (_ROWS, _ROWS, _ONE_ROW, _ONE_ROW, _ROWS, _ROWS)


def _train_step(model: MaskedLanguageModel, optimizer: Any, pad: int, halves_weight: float) -> Any:
    variables = model.trainable_variables

    @tf.function(input_signature=_SIGNATURE, autograph=False)
    def step(
        token_ids: Any,
        padding_mask: Any,
        places: Any,
        labels: Any,
        one_half: Any,
        other_half: Any,
    ) -> Any:
        with tf.GradientTape() as tape:
            logits = model.logits(token_ids, padding_mask, places, training=True)
            losses = tf.nn.sparse_softmax_cross_entropy_with_logits(labels, logits)
            count = tf.cast(tf.maximum(tf.size(labels), 1), tf.float32)
            loss = tf.reduce_sum(losses) / count
            if halves_weight:
                apart, _ = _halves(model, one_half, other_half, pad, training=True)
                loss += halves_weight * apart
        gradients = tape.gradient(loss, [v.value for v in variables])
        dense = [
            tf.zeros_like(v.value) if g is None else tf.convert_to_tensor(g)
            for g, v in zip(gradients, variables, strict=True)
        ]
        optimizer.apply(dense, variables)
        return loss

    return step


def _halves(
    model: MaskedLanguageModel, one_half: Any, other_half: Any, pad: int, training: bool
) -> tuple[Any, Any]:
    one, other = (
        model.mean_vectors(ids, tf.cast(ids != pad, tf.int32), training)
        for ids in (one_half, other_half)
    )
    return halves_loss(one, other)


def _evaluation(model: MaskedLanguageModel, pad: int, halves_weight: float) -> Any:
    @tf.function(input_signature=_SIGNATURE, autograph=False)
    def sums(
        token_ids: Any,
        padding_mask: Any,
        places: Any,
        labels: Any,
        one_half: Any,
        other_half: Any,
    ) -> Any:
        logits = model.logits(token_ids, padding_mask, places)
        losses = tf.nn.sparse_softmax_cross_entropy_with_logits(labels, logits)
        right = tf.equal(tf.argmax(logits, axis=-1, output_type=tf.int32), labels)
        apart, found = _halves(model, one_half, other_half, pad, training=False)
        size = tf.cast(tf.size(found), tf.float32)
        return (
            tf.reduce_sum(losses),
            tf.reduce_sum(tf.cast(right, tf.float32)),
            apart * size,
            tf.reduce_sum(found),
        )

    def evaluate(held_out: Sequence[_Batch]) -> tuple[float, float, float]:
        found_sums = [[float(value) for value in sums(*_tensors(batch))] for batch in held_out]
        num_tokens = sum(len(batch.labels) for batch in held_out)
        num_texts = sum(len(batch.one_half) for batch in held_out)
        guessing, right, apart, found = (sum(column) for column in zip(*found_sums, strict=True))
        loss = guessing / num_tokens + halves_weight * apart / num_texts
        return loss, right / num_tokens, found / num_texts

    return evaluate


def _optimizer(learning_rate: float, steps: int) -> Any:
    warmup = max(1, steps // 10)
    schedule = keras.optimizers.schedules.CosineDecay(
        initial_learning_rate=0.0,
        decay_steps=max(1, steps - warmup),
        alpha=0.02,
        warmup_target=learning_rate,
        warmup_steps=warmup,
    )
    optimizer = keras.optimizers.AdamW(schedule, weight_decay=0.01, global_clipnorm=1.0)
    optimizer.exclude_from_weight_decay(var_names=["bias", "gamma", "beta"])
    return optimizer
