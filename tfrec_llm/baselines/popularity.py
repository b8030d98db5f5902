"""The most-taken items, for everybody alike."""

from __future__ import annotations

import numpy as np

from tfrec_llm.baselines.interactions import Interactions
from tfrec_llm.data.queries import Queries


class Popularity:
    """Scores each item by how many users took it in training.

    Example:
        >>> import polars as pl
        >>> frame = pl.DataFrame({"user_id": ["u", "v"], "item_number": [1, 1]})
        >>> model = Popularity().fit(Interactions.from_frame(frame, num_items=2))
        >>> queries = Queries(["w"], [np.array([])], [""], np.array([0]), np.array([True]))
        >>> model.score(queries).tolist()
        [[0.0, 2.0]]
    """

    name = "popularity"

    def fit(self, interactions: Interactions) -> Popularity:
        """Counts.

        Args:
            interactions: the training set.

        Returns: itself.
        """
        self.item_counts = interactions.item_counts.astype(np.float32)
        return self

    @classmethod
    def from_counts(cls, item_counts: np.ndarray) -> Popularity:
        """Returns the baseline of counts that are known already.

        Args:
            item_counts: int `(num_items,)`, users who took each item in training.

        Example:
            >>> Popularity.from_counts(np.array([0, 2])).item_counts.tolist()
            [0.0, 2.0]
        """
        model = cls()
        model.item_counts = np.asarray(item_counts).astype(np.float32)
        return model

    def score(self, queries: Queries) -> np.ndarray:
        """Returns float32 `(len(queries), num_items)`, read-only: the same row for everybody."""
        return np.broadcast_to(self.item_counts, (len(queries), len(self.item_counts)))


def popular_where_unknown(scores: np.ndarray, item_counts: np.ndarray) -> np.ndarray:
    """Puts the popularity order where a model knows nothing, that is: scores every item 0.

    Args:
        scores: float32 `(n, num_items)`, changed in place.
        item_counts: float32 `(num_items,)`.

    Returns: `scores`.

    Example:
        >>> popular_where_unknown(np.array([[0.0, 0.0], [0.1, 0.0]]), np.array([1.0, 5.0])).tolist()
        [[1.0, 5.0], [0.1, 0.0]]
    """
    scores[~scores.any(axis=1)] = item_counts
    return scores
