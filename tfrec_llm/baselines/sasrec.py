"""SASRec: self-attention over item ids in order of time, trained by softmax cross-entropy."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from tfrec_llm.baselines.interactions import Interactions
from tfrec_llm.baselines.popularity import popular_where_unknown
from tfrec_llm.baselines.sasrec_network import SasrecNetwork
from tfrec_llm.data.history_windows import history_windows
from tfrec_llm.data.length_buckets import length_buckets
from tfrec_llm.data.padding import left_padded
from tfrec_llm.data.queries import Queries
from tfrec_llm.errors import DivergedError
from tfrec_llm.keras_api import keras, tf
from tfrec_llm.pretraining.seeded_weights import seed_dropouts, start_weights
from tfrec_llm.progress import Progress, Silent
from tfrec_llm.seeds import child_generator, child_seed

_QUERIES_AT_ONCE = 512


class Sasrec:
    """The sequential recommender on ids alone that others are measured against.

    The published network, trained as is known today to make it strong: not one negative a
    position under a binary loss, but a softmax over thousands of them, or over the whole corpus.
    Users need not be known from training: the history at query time is all that counts. Where it
    is empty the popularity order is given.

    Args:
        embedding_dim: int, width throughout.
        num_blocks: int, self-attention blocks.
        num_heads: int; must divide `embedding_dim`.
        max_history: int, newest items that are looked at; a longer one trains in windows.
        dropout: float in [0, 1).
        num_negatives: int >= 1, uniform draws without repetition for each batch; a corpus that is
            no larger is used whole.
        batch_size: int >= 1, windows in a step.
        learning_rate: float > 0, of Adam.
        num_epochs: int >= 0, passes of `fit`; the best one after `fit_until_best`.
        max_epochs: int >= 1, passes of `fit_until_best` at most.
        patience: int >= 1, passes of `fit_until_best` without a better figure before it stops.
        seed: int, of weights, drop-out, order and draws.
        progress: told of each pass; nobody by default.

    Example:
        >>> import polars as pl
        >>> frame = pl.DataFrame({"user_id": ["u", "u", "v"], "item_number": [0, 1, 2]})
        >>> interactions = Interactions.from_frame(frame, num_items=3)
        >>> model = Sasrec(embedding_dim=8, num_epochs=40, learning_rate=0.01).fit(interactions)
        >>> queries = Queries(["w"], [np.array([0])], [""], np.array([1]), np.array([True]))
        >>> int(model.score(queries)[0].argmax())
        1

    Reference: Kang & McAuley, 2018, arXiv:1808.09781; the loss as in Klenitskiy & Vasilev, 2023,
        arXiv:2309.07602
    """

    name = "sasrec"

    def __init__(
        self,
        *,
        embedding_dim: int = 128,
        num_blocks: int = 2,
        num_heads: int = 1,
        max_history: int = 50,
        dropout: float = 0.5,
        num_negatives: int = 4096,
        batch_size: int = 128,
        learning_rate: float = 1e-3,
        num_epochs: int = 20,
        max_epochs: int = 200,
        patience: int = 10,
        seed: int = 7,
        progress: Progress | None = None,
    ) -> None:
        for name, value, least in (
            ("num_negatives", num_negatives, 1),
            ("batch_size", batch_size, 1),
            ("max_history", max_history, 1),
            ("num_epochs", num_epochs, 0),
            ("max_epochs", max_epochs, 1),
            ("patience", patience, 1),
        ):
            if value < least:
                raise ValueError(f"`{name}` must be at least {least}, got {value!r}.")
        self.network_options: dict[str, Any] = {
            "embedding_dim": embedding_dim,
            "num_blocks": num_blocks,
            "num_heads": num_heads,
            "max_history": max_history,
            "dropout": dropout,
        }
        self.max_history = max_history
        self.num_negatives = num_negatives
        self.batch_size = batch_size
        self.learning_rate = learning_rate
        self.num_epochs = num_epochs
        self.max_epochs = max_epochs
        self.patience = patience
        self.seed = seed
        self.progress = progress or Silent()

    def fit(self, interactions: Interactions) -> Sasrec:
        """Trains `num_epochs` passes.

        Args:
            interactions: the training set.

        Returns: itself.

        Raises: DivergedError when the loss is no longer a number.
        """
        run_epoch = self._start(interactions)
        for epoch in range(1, self.num_epochs + 1):
            self.progress.message(f"sasrec: pass {epoch}, loss {run_epoch(epoch):.4f}")
        return self

    def fit_until_best(self, interactions: Interactions, validate: Callable[[], float]) -> Sasrec:
        """Trains until `patience` passes brought nothing better, and keeps the best weights.

        Args:
            interactions: the training set.
            validate: returns a figure of the model as it stands, higher is better.

        Returns: itself, `num_epochs` set to the best number of passes.

        Raises: DivergedError when the loss is no longer a number.
        """
        run_epoch = self._start(interactions)
        self.num_epochs, best, weights = 0, validate(), self.network.get_weights()
        for epoch in range(1, self.max_epochs + 1):
            loss = run_epoch(epoch)
            figure = validate()
            self.progress.message(f"sasrec: pass {epoch}, loss {loss:.4f}, validation {figure:.4f}")
            if figure > best:
                self.num_epochs, best, weights = epoch, figure, self.network.get_weights()
            if epoch - self.num_epochs >= self.patience:
                break
        self.network.set_weights(weights)
        return self

    def score(self, queries: Queries) -> np.ndarray:
        """Returns float32 `(len(queries), num_items)`."""
        num_items = len(self.item_counts)
        scores = np.zeros((len(queries), num_items), np.float32)
        histories = [np.asarray(history, np.int32) for history in queries.histories]
        histories = [history[history >= 0] for history in histories]
        known = np.flatnonzero([len(history) > 0 for history in histories])
        for begin in range(0, len(known), _QUERIES_AT_ONCE):
            rows = known[begin : begin + _QUERIES_AT_ONCE]
            sequences = left_padded([histories[row] for row in rows], max_length=self.max_history)
            scores[rows] = self._score(tf.constant(sequences)).numpy()
        return popular_where_unknown(scores, self.item_counts)

    def _start(self, interactions: Interactions) -> Callable[[int], float]:
        """Makes a network with fresh weights, and returns what trains it for one pass."""
        self.item_counts = interactions.item_counts.astype(np.float32)
        num_items = len(self.item_counts)
        network = SasrecNetwork(num_items, **self.network_options)
        network(tf.zeros((1, 2), tf.int32))
        start_weights(network.weights, child_seed(self.seed, "sasrec"))
        seed_dropouts(network, child_seed(self.seed, "sasrec"))
        self.network = network
        self._score = _scorer(network)
        windows = [
            window
            for history in interactions.histories
            if len(history) > 1
            for window in history_windows(history, self.max_history)
        ]
        lengths = np.array([len(window) for window in windows], dtype=np.int64)
        step = _training_step(network, self.learning_rate)

        def run_epoch(epoch: int) -> float:
            generator = child_generator(self.seed, "sasrec", epoch)
            batches = length_buckets(lengths, self.batch_size, generator)
            losses = []
            for done, rows in enumerate(batches, start=1):
                draws = min(self.num_negatives, num_items)
                negatives = generator.choice(num_items, draws, replace=False, shuffle=False)
                losses.append(
                    step(
                        tf.constant(left_padded([windows[row] for row in rows])),
                        tf.constant(negatives.astype(np.int32)),
                    )
                )
                self.progress.advance(f"sasrec pass {epoch}", done, len(batches))
            loss = float(np.mean([float(loss) for loss in losses])) if losses else 0.0
            if not math.isfinite(loss):
                raise DivergedError(
                    f"The training loss of pass {epoch} of the baseline `sasrec` is {loss}. Lower "
                    f"its `learning_rate` (now {self.learning_rate})."
                )
            return loss

        return run_epoch


def _scorer(network: SasrecNetwork) -> Any:
    @tf.function(input_signature=[tf.TensorSpec([None, None], tf.int32)], autograph=False)
    def score(sequences: Any) -> Any:
        newest = network(sequences)[:, -1]
        return tf.matmul(newest, network.items.value, transpose_b=True)

    return score


def _training_step(network: SasrecNetwork, learning_rate: float) -> Any:
    optimizer = keras.optimizers.Adam(learning_rate, beta_2=0.98)
    variables = network.trainable_variables
    optimizer.build(variables)

    @tf.function(
        input_signature=[
            tf.TensorSpec([None, None], tf.int32),
            tf.TensorSpec([None], tf.int32),
        ],
        autograph=False,
    )
    def step(windows: Any, negatives: Any) -> Any:
        with tf.GradientTape() as tape:
            loss = network.sampled_softmax_loss(windows, negatives)
        gradients = tape.gradient(loss, [variable.value for variable in variables])
        optimizer.apply([tf.convert_to_tensor(gradient) for gradient in gradients], variables)
        return loss

    return step
