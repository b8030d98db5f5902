"""SLIM: a sparse linear model of items, each foretold by the items of a history."""

from __future__ import annotations

import numpy as np

from tfrec_llm.baselines.interactions import Interactions
from tfrec_llm.baselines.popularity import popular_where_unknown
from tfrec_llm.data.queries import Queries
from tfrec_llm.neighbours.history_profile import history_profile
from tfrec_llm.neighbours.item_regression import ItemRegression


class Slim:
    """Adds up what each item of the history says for others, as a ridge regression learned it.

    It is what two towers have beside their dot product, alone. Users need not be known from
    training. Where nothing in a history speaks for anything the popularity order is given.

    Args:
        regularisation: float > 0, pulls weights that rest on few cases towards 0.
        num_neighbours: int >= 1, inputs and entries kept of each item.
        recency: float in (0, 1], weight of an item of the history against the one after it; 1 takes
            histories as sets.

    Example:
        >>> import polars as pl
        >>> frame = pl.DataFrame({"user_id": ["u", "u", "v"], "item_number": [0, 1, 2]})
        >>> model = Slim(recency=1.0).fit(Interactions.from_frame(frame, num_items=3))
        >>> queries = Queries(["w"], [np.array([0])], [""], np.array([1]), np.array([True]))
        >>> model.score(queries).astype(float).round(2).tolist()
        [[0.0, 0.09, 0.0]]

    Reference: Ning and Karypis, 2011, doi:10.1109/ICDM.2011.134; along a sequence Choi et al.,
        2021, arXiv:2103.16104
    """

    name = "slim"

    def __init__(
        self, *, regularisation: float = 10.0, num_neighbours: int = 100, recency: float = 0.6
    ) -> None:
        if regularisation <= 0:
            raise ValueError(f"`regularisation` must be above 0, got {regularisation!r}.")
        if num_neighbours < 1:
            raise ValueError(f"`num_neighbours` must be at least 1, got {num_neighbours!r}.")
        self.regularisation = regularisation
        self.num_neighbours = num_neighbours
        self.recency = recency

    def fit(self, interactions: Interactions) -> Slim:
        """Learns the weights.

        Args:
            interactions: the training set.

        Returns: itself.
        """
        self.item_counts = interactions.item_counts.astype(np.float32)
        self.weights = ItemRegression(
            interactions.histories,
            len(self.item_counts),
            decay=self.recency,
            num_neighbours=self.num_neighbours,
        ).weights(self.regularisation)
        return self

    def score(self, queries: Queries) -> np.ndarray:
        """Returns float32 `(len(queries), num_items)`, at least 0."""
        profile = history_profile(queries.histories, len(self.item_counts), self.recency)
        scores: np.ndarray = (profile @ self.weights).toarray()
        return popular_where_unknown(scores, self.item_counts)
