"""What every index of candidate embeddings offers, whatever way it searches."""

from __future__ import annotations

import abc
from typing import Any

import numpy as np
import polars as pl

from tfrec_llm.errors import UsageError
from tfrec_llm.keras_api import tf

NOTHING = -1
LOWEST_SCORE = float(np.finfo(np.float32).min)


class TopKIndex(tf.Module, abc.ABC):
    """Finds the candidates with the highest dot product, eagerly or inside a graph.

    Everything that a search needs lies in tracked variables and resources, so a module that holds
    an index can be saved with `tf.saved_model.save`.

    Args:
        embeddings: float `(num_items, dim)`, one row a candidate, finite; row i is item number i.

    Attributes:
        kind: str, the name of this way to search, as in a configuration.
        is_exact: bool, whether the answers are those of comparing with every candidate.
        embeddings: tf.Variable float32 `(num_items, dim)`, the candidates.
        num_items: int, how many candidates there are.
        first_equal: tf.Variable int32 `(num_items,)`, the lowest number of a candidate with the
            same embedding; None where no two are equal.

    Raises: UsageError when there is no candidate, or the embeddings are not finite rows.
    """

    kind: str
    is_exact: bool

    def __init__(self, embeddings: np.ndarray) -> None:
        super().__init__(name=f"{self.kind}_index")
        rows = np.asarray(embeddings, dtype=np.float32)
        if rows.ndim != 2 or 0 in rows.shape:
            raise UsageError(
                f"An index needs at least one candidate, as a table (candidates, dimensions), got "
                f"the shape {rows.shape}. Give one row of numbers for each item."
            )
        broken = np.flatnonzero(~np.isfinite(rows).all(axis=1))
        if len(broken):
            raise UsageError(
                f"The embeddings of {len(broken)} of {len(rows)} candidates hold NaN or infinity, "
                f"the first in row {broken[0]}. The model that made them did not train: lower its "
                "learning rate, and look for texts that are broken."
            )
        self.num_items = len(rows)
        self.embeddings = tf.Variable(rows, trainable=False, name="candidate_embeddings")
        first_equal = first_equal_rows(rows)
        self.first_equal = None
        if (first_equal != np.arange(len(rows))).any():
            self.first_equal = tf.Variable(first_equal, trainable=False, name="first_equal")

    @abc.abstractmethod
    def search(self, queries: Any, k: Any) -> tuple[Any, Any]:
        """Finds the best candidates of each query, best first.

        Args:
            queries: float32 `(batch, dim)`; the batch may be empty.
            k: int32 scalar tensor or int, >= 0; may be larger than the number of candidates.

        Returns: scores float32 `(batch, k)` and item numbers int32 `(batch, k)`. Where nothing
            more was found: the lowest finite float32 and -1. Never NaN.
        """

    @property
    def parameters(self) -> dict[str, object]:
        """Returns the settings of this index, for reports."""
        return {"kind": self.kind, "is_exact": self.is_exact, "num_items": self.num_items}

    @property
    def options(self) -> dict[str, Any]:
        """Returns the arguments by which the same kind is built over other candidates.

        None stands for what follows the number of candidates.
        """
        return {}


def pad_to_k(scores: Any, numbers: Any, k: Any) -> tuple[Any, Any]:
    """Widens an answer of fewer than `k` columns, and empties what has no finite score.

    Args:
        scores: float32 `(batch, width)`, width <= k.
        numbers: int32 `(batch, width)`, -1 for nothing.
        k: int32 scalar tensor.

    Returns: scores float32 `(batch, k)` and numbers int32 `(batch, k)`.

    Example:
        >>> scores, numbers = pad_to_k(tf.constant([[0.5]]), tf.constant([[3]]), 2)
        >>> numbers.numpy().tolist(), float(scores[0, 1]) == LOWEST_SCORE
        ([[3, -1]], True)
    """
    found = (numbers >= 0) & tf.math.is_finite(scores)
    scores = tf.where(found, scores, LOWEST_SCORE)
    numbers = tf.where(found, numbers, NOTHING)
    missing = [[0, 0], [0, k - tf.shape(scores)[1]]]
    return (
        tf.pad(scores, missing, constant_values=LOWEST_SCORE),
        tf.pad(numbers, missing, constant_values=NOTHING),
    )


def first_equal_rows(rows: np.ndarray) -> np.ndarray:
    """Finds for each row the first row that is equal to it.

    Args:
        rows: float32 `(num_rows, dim)`, finite, dim >= 1.

    Returns: int32 `(num_rows,)`; the number of the row itself where none before is equal.

    Example:
        >>> first_equal_rows(np.array([[1, 2], [0, 0], [1, 2]], np.float32)).tolist()
        [0, 1, 0]
    """
    hashes = pl.from_numpy(rows).hash_rows().to_numpy()
    _, first, place = np.unique(hashes, return_index=True, return_inverse=True)
    numbers = np.arange(len(rows))
    found = first[place]
    later = np.flatnonzero(found != numbers)
    # Rows with one hash by chance stand for themselves.
    same = (rows[later] == rows[found[later]]).all(axis=1)
    numbers[later[same]] = found[later[same]]
    return numbers.astype(np.int32)


def dot_products(rows: Any, queries: Any) -> Any:
    """Multiplies each query by rows of its own, so that equal rows get equal products.

    The kernels of a matrix product round the last rows of a block unlike those before.

    Args:
        rows: float32 `(..., n, dim)`.
        queries: float32 `(..., dim)`.

    Returns: float32 `(..., n)`.

    Example:
        >>> dot_products(tf.constant([[1.0, 2.0], [3.0, 4.0]]), tf.constant([1.0, 1.0])).numpy()
        array([3., 7.], dtype=float32)
    """
    return tf.reduce_sum(rows * queries[..., None, :], axis=-1)
