"""Vectors → lists of neighbours, all of one width, each with its centre."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from sklearn.cluster import MiniBatchKMeans

from tfrec_llm.keras_api import tf

_ROWS_PER_LIST = 64  # of the sample that the centres are learned from
_BATCH = 16_384
_PASSES = 10
_ROOM = 1.15  # width of a list against the mean number of its vectors
_CHOICES = 16  # lists that a vector may go to before it counts as left over
_DISTANCES_AT_ONCE = 1 << 26


@dataclass(frozen=True)
class InvertedLists:
    """What an inverted file holds.

    Attributes:
        centres: float32 `(num_lists, dim)`, the mean of each list.
        numbers: int32 `(num_lists, width)`, row numbers; -1 behind the last of a list.
    """

    centres: np.ndarray
    numbers: np.ndarray


def inverted_lists(rows: np.ndarray, num_lists: int, seed: int = 0) -> InvertedLists:
    """Sorts vectors into lists around centres that k-means finds.

    Every list has room for a little more than its share. A vector whose nearest list is full goes
    to the next, so a search that pads lists to one width reads hardly any padding.

    Args:
        rows: float32 `(num_rows, dim)`.
        num_lists: int in [1, num_rows].
        seed: int, of the sample and the first centres.

    Returns: `InvertedLists`; each row number stands in one list.

    Example:
        >>> found = inverted_lists(np.array([[0.0], [0.1], [9.0], [9.1]], np.float32), 2)
        >>> sorted(sorted(numbers[numbers >= 0].tolist()) for numbers in found.numbers)
        [[0, 1], [2, 3]]

    Reference: Sivic and Zisserman, 2003, Video Google.
    """
    num_rows = len(rows)
    draw = np.random.default_rng(seed)
    sample = rows
    if num_rows > _ROWS_PER_LIST * num_lists:
        sample = rows[draw.choice(num_rows, _ROWS_PER_LIST * num_lists, replace=False)]
    learned = MiniBatchKMeans(
        num_lists,
        init="random",
        n_init=1,
        max_iter=_PASSES,
        batch_size=_BATCH,
        reassignment_ratio=0.0,
        random_state=seed,
    ).fit(sample)
    centres = learned.cluster_centers_.astype(np.float32)
    width = max(1, int(np.ceil(_ROOM * num_rows / num_lists)))
    list_of = _with_room(*_nearest(rows, centres, min(_CHOICES, num_lists)), num_lists, width)

    order = np.argsort(list_of, kind="stable").astype(np.int32)
    sizes = np.bincount(list_of, minlength=num_lists)
    place = np.arange(num_rows) - np.repeat(np.cumsum(sizes) - sizes, sizes)
    numbers = np.full((num_lists, width), -1, np.int32)
    numbers[list_of[order], place] = order
    sums = np.zeros_like(centres)
    np.add.at(sums, list_of, rows)
    means = sums / np.maximum(sizes, 1).astype(np.float32)[:, None]
    return InvertedLists(np.where(sizes[:, None] > 0, means, centres), numbers)


def _nearest(rows: np.ndarray, centres: np.ndarray, choices: int) -> tuple[np.ndarray, np.ndarray]:
    """Returns the nearest centres of each row, nearest first, and how far they are."""
    transposed = tf.constant(centres.T)
    half_lengths = tf.constant(0.5 * (centres**2).sum(axis=1))

    @tf.function(
        input_signature=[tf.TensorSpec([None, rows.shape[1]], tf.float32)], autograph=False
    )
    def nearest(block: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        nearness, found = tf.math.top_k(tf.matmul(block, transposed) - half_lengths, choices)
        return found, -nearness

    at_once = max(1, _DISTANCES_AT_ONCE // len(centres))
    blocks = [nearest(rows[i : i + at_once]) for i in range(0, len(rows), at_once)]
    return (
        np.concatenate([found.numpy() for found, _ in blocks]),
        np.concatenate([distance.numpy() for _, distance in blocks]),
    )


def _with_room(
    choices: np.ndarray, distances: np.ndarray, num_lists: int, width: int
) -> np.ndarray:
    """Returns the list of each row: the nearest that has room, nearer rows first."""
    list_of = np.full(len(choices), -1)
    room = np.full(num_lists, width)
    for choice in range(choices.shape[1]):
        waiting = np.flatnonzero(list_of < 0)
        if not len(waiting):
            break
        wanted = choices[waiting, choice]
        order = np.lexsort((distances[waiting, choice], wanted))
        wanted, waiting = wanted[order], waiting[order]
        rank = np.arange(len(wanted)) - np.searchsorted(wanted, wanted)
        taken = rank < room[wanted]
        list_of[waiting[taken]] = wanted[taken]
        room -= np.bincount(wanted[taken], minlength=num_lists)
    waiting = np.flatnonzero(list_of < 0)
    list_of[waiting] = np.repeat(np.arange(num_lists), np.maximum(room, 0))[: len(waiting)]
    return list_of
