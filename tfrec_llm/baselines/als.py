"""Implicit-feedback ALS from the package `implicit`."""

from __future__ import annotations

import numpy as np

from tfrec_llm.baselines.implicit_package import implicit_module, one_blas_thread
from tfrec_llm.baselines.interactions import Interactions
from tfrec_llm.baselines.popularity import popular_where_unknown
from tfrec_llm.data.queries import Queries
from tfrec_llm.neighbours.history_profile import history_profile


class Als:
    """Weighted matrix factorisation; a user's factors are solved from the history at query time.

    So users never seen in training are served as well as those seen. Where the history is empty,
    or nobody took anything of it in training, the popularity order is given.

    Args:
        num_factors: int >= 1.
        regularisation: float >= 0.
        alpha: float > 0, weight of a taken item against 1 for one not taken.
        num_iterations: int >= 1.
        seed: int, of the random start.

    Raises: MissingPackageError when `implicit` is not installed.

    Example:
        >>> import polars as pl
        >>> frame = pl.DataFrame({"user_id": ["u", "u", "v"], "item_number": [0, 1, 2]})
        >>> interactions = Interactions.from_frame(frame, num_items=3)
        >>> model = Als(num_factors=2).fit(interactions)
        >>> queries = Queries(["w"], [np.array([0])], [""], np.array([1]), np.array([True]))
        >>> scores = model.score(queries)[0]
        >>> bool(scores[1] > scores[2])
        True

    Reference: Hu et al., 2008, doi:10.1109/ICDM.2008.22
    """

    name = "als"

    def __init__(
        self,
        *,
        num_factors: int = 128,
        regularisation: float = 0.01,
        alpha: float = 10.0,
        num_iterations: int = 15,
        seed: int = 7,
    ) -> None:
        module = implicit_module("als", "the baseline `als`")
        with one_blas_thread():
            self.model = module.AlternatingLeastSquares(
                factors=num_factors,
                regularization=regularisation,
                alpha=alpha,
                iterations=num_iterations,
                random_state=seed,
                use_gpu=False,
            )

    def fit(self, interactions: Interactions) -> Als:
        """Factorises.

        Args:
            interactions: the training set.

        Returns: itself.
        """
        self.item_counts = interactions.item_counts.astype(np.float32)
        with one_blas_thread():
            self.model.fit(interactions.matrix, show_progress=False)
        return self

    def score(self, queries: Queries) -> np.ndarray:
        """Returns float32 `(len(queries), num_items)`."""
        taken = history_profile(queries.histories, len(self.item_counts))
        taken.data[:] = 1.0
        with one_blas_thread():
            users = self.model.recalculate_user(np.arange(len(queries)), taken)
        users[np.diff(taken.indptr) == 0] = 0.0
        return popular_where_unknown(users @ self.model.item_factors.T, self.item_counts)
