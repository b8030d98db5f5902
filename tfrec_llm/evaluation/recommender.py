"""What the evaluation asks of a model."""

from __future__ import annotations

from typing import Protocol

import numpy as np

from tfrec_llm.data.queries import Queries


class Recommender(Protocol):
    """Anything that scores the whole corpus for a batch of queries.

    Attributes:
        name: str, the key of the model in reports.
    """

    name: str

    def score(self, queries: Queries) -> np.ndarray:
        """Returns float32 `(len(queries), num_items)`, finite, higher is better.

        Items of the history need not be left out: whoever ranks does that.
        """
