"""Likeness of meaning: the vectors of a language model as they are, nothing learned."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from tfrec_llm.baselines.interactions import Interactions
from tfrec_llm.baselines.popularity import popular_where_unknown
from tfrec_llm.data.queries import Queries
from tfrec_llm.neighbours.history_profile import history_profile


class ZeroShot:
    """Items whose text vectors are near the mean of the history's, newer items with more weight.

    Works for new items and new users. A user without history is matched by the free text; where
    there is neither, the popularity order is given.

    Args:
        item_features: float32 `(num_items, F)`, text vectors in the order of item numbers.
        text_vectors: gives float32 `(n, F)` for n texts by the same encoder; None when the data
            has no user texts: users without history then get the popularity order.
        decay: float in (0, 1], weight of an item of the history against the one after it.

    Example:
        >>> import polars as pl
        >>> frame = pl.DataFrame({"user_id": ["u"], "item_number": [0]})
        >>> interactions = Interactions.from_frame(frame, num_items=2)
        >>> model = ZeroShot(np.array([[3.0, 4.0], [5.0, 0.0]])).fit(interactions)
        >>> queries = Queries(["w"], [np.array([1])], [""], np.array([0]), np.array([True]))
        >>> model.score(queries).round(1).tolist()
        [[0.6000000238418579, 1.0]]
    """

    name = "zero_shot"

    def __init__(
        self,
        item_features: np.ndarray,
        text_vectors: Callable[[list[str]], np.ndarray] | None = None,
        *,
        decay: float = 0.8,
    ) -> None:
        self.item_vectors = _unit_rows(item_features)
        self.text_vectors = text_vectors
        self.decay = decay

    def fit(self, interactions: Interactions) -> ZeroShot:
        """Learns nothing but the popularity order, for users of whom nothing is known.

        Args:
            interactions: the training set.

        Returns: itself.
        """
        self.item_counts = interactions.item_counts.astype(np.float32)
        return self

    def score(self, queries: Queries) -> np.ndarray:
        """Returns float32 `(len(queries), num_items)`."""
        profile = history_profile(queries.histories, len(self.item_counts), self.decay)
        users = np.asarray(profile @ self.item_vectors)
        has_text = np.array([bool(text.strip()) for text in queries.texts], dtype=bool)
        by_text = np.flatnonzero((np.diff(profile.indptr) == 0) & has_text)
        if len(by_text) and self.text_vectors is not None:
            users[by_text] = _unit_rows(self.text_vectors([queries.texts[i] for i in by_text]))
        return popular_where_unknown(users @ self.item_vectors.T, self.item_counts)


def _unit_rows(vectors: np.ndarray) -> np.ndarray:
    vectors = np.asarray(vectors, dtype=np.float32)
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    return np.asarray(vectors / np.where(lengths > 0, lengths, np.float32(1.0)))
