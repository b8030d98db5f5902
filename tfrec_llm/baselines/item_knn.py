"""Item-kNN: items that the same users took, nearest to what the user took last."""

from __future__ import annotations

import numpy as np

from tfrec_llm.baselines.interactions import Interactions
from tfrec_llm.baselines.popularity import popular_where_unknown
from tfrec_llm.data.queries import Queries
from tfrec_llm.neighbours.history_profile import history_profile
from tfrec_llm.neighbours.shrunk_cosine import shrunk_cosine


class ItemKnn:
    """Each item of the history votes for its nearest neighbours, newer items with more weight.

    Users need not be known from training: their history at query time is all that counts. Where
    nothing in it has a neighbour the popularity order is given.

    Args:
        shrinkage: float >= 0, pulls similarities that rest on few users towards 0.
        num_neighbours: int >= 1, nearest items kept for each item.
        decay: float in (0, 1], weight of an item of the history against the one after it.

    Example:
        >>> import polars as pl
        >>> frame = pl.DataFrame({"user_id": ["u", "u", "v"], "item_number": [0, 1, 2]})
        >>> model = ItemKnn(shrinkage=0.0).fit(Interactions.from_frame(frame, num_items=3))
        >>> queries = Queries(["w"], [np.array([0])], [""], np.array([1]), np.array([True]))
        >>> model.score(queries).tolist()
        [[0.0, 1.0, 0.0]]

    Reference: Sarwar et al., 2001, doi:10.1145/371920.372071; the shrinkage as in Ferrari
        Dacrema et al., 2019, doi:10.1145/3298689.3347058
    """

    name = "item_knn"

    def __init__(
        self, *, shrinkage: float = 20.0, num_neighbours: int = 1000, decay: float = 0.8
    ) -> None:
        if shrinkage < 0:
            raise ValueError(f"`shrinkage` must be at least 0, got {shrinkage!r}.")
        if num_neighbours < 1:
            raise ValueError(f"`num_neighbours` must be at least 1, got {num_neighbours!r}.")
        self.shrinkage = shrinkage
        self.num_neighbours = num_neighbours
        self.decay = decay

    def fit(self, interactions: Interactions) -> ItemKnn:
        """Finds the neighbours of every item.

        Args:
            interactions: the training set.

        Returns: itself.
        """
        self.item_counts = interactions.item_counts.astype(np.float32)
        self.similarity = shrunk_cosine(interactions.matrix, self.shrinkage, self.num_neighbours)
        return self

    def score(self, queries: Queries) -> np.ndarray:
        """Returns float32 `(len(queries), num_items)`, weighted means of similarities in [0, 1]."""
        profile = history_profile(queries.histories, len(self.item_counts), self.decay)
        scores: np.ndarray = (profile @ self.similarity).toarray()
        return popular_where_unknown(scores, self.item_counts)
