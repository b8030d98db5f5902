"""Bayesian personalised ranking from the package `implicit`."""

from __future__ import annotations

import numpy as np

from tfrec_llm.baselines.implicit_package import implicit_module, one_blas_thread
from tfrec_llm.baselines.interactions import Interactions
from tfrec_llm.baselines.popularity import popular_where_unknown
from tfrec_llm.data.queries import Queries


class Bpr:
    """Factors of users and items learned from pairs of a taken and a not taken item.

    It knows the users of training only, and them only by what they took in training: the history
    at query time is not used, and anybody else gets the popularity order.

    Args:
        num_factors: int >= 1.
        learning_rate: float > 0.
        regularisation: float >= 0.
        num_iterations: int >= 1, passes over the interactions.
        seed: int, of start and draws. One thread is used, so that a seed gives one model.

    Raises: MissingPackageError when `implicit` is not installed.

    Example:
        >>> import polars as pl
        >>> frame = pl.DataFrame({"user_id": ["u", "u", "v"], "item_number": [0, 1, 2]})
        >>> interactions = Interactions.from_frame(frame, num_items=3)
        >>> model = Bpr(num_factors=2).fit(interactions)
        >>> queries = Queries(["w"], [np.array([0])], [""], np.array([1]), np.array([True]))
        >>> model.score(queries)
        array([[1., 1., 1.]], dtype=float32)

    Reference: Rendle et al., 2009, arXiv:1205.2618
    """

    name = "bpr"

    def __init__(
        self,
        *,
        num_factors: int = 128,
        learning_rate: float = 0.05,
        regularisation: float = 0.002,
        num_iterations: int = 100,
        seed: int = 7,
    ) -> None:
        module = implicit_module("bpr", "the baseline `bpr`")
        with one_blas_thread():
            self.model = module.BayesianPersonalizedRanking(
                factors=num_factors,
                learning_rate=learning_rate,
                regularization=regularisation,
                iterations=num_iterations,
                num_threads=1,
                random_state=seed,
                use_gpu=False,
            )

    def fit(self, interactions: Interactions) -> Bpr:
        """Learns.

        Args:
            interactions: the training set.

        Returns: itself.
        """
        self.item_counts = interactions.item_counts.astype(np.float32)
        self._row_of_user = {user_id: row for row, user_id in enumerate(interactions.user_ids)}
        with one_blas_thread():
            self.model.fit(interactions.matrix, show_progress=False)
        return self

    def score(self, queries: Queries) -> np.ndarray:
        """Returns float32 `(len(queries), num_items)`."""
        rows = np.array([self._row_of_user.get(user_id, -1) for user_id in queries.user_ids])
        users = np.where((rows >= 0)[:, None], self.model.user_factors[rows], np.float32(0.0))
        return popular_where_unknown(users @ self.model.item_factors.T, self.item_counts)
