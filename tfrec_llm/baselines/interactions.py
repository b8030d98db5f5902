"""Who took what in training, as one sparse matrix."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import polars as pl
from scipy import sparse

from tfrec_llm.errors import DataError


@dataclass(frozen=True)
class Interactions:
    """What every baseline is fitted on.

    Attributes:
        matrix: float32 CSR `(num_users, num_items)`, 1 where the user took the item.
        user_ids: num_users str, the user of each row.
        histories: num_users int32 arrays, what each user took, oldest first.
    """

    matrix: sparse.csr_matrix
    user_ids: list[str]
    histories: list[np.ndarray]

    @property
    def item_counts(self) -> np.ndarray:
        """Returns int64 `(num_items,)`: how many users took each item."""
        return np.bincount(self.matrix.indices, minlength=self.matrix.shape[1])

    @classmethod
    def from_frame(cls, frame: pl.DataFrame, num_items: int) -> Interactions:
        """Returns the matrix of a table; a pair that occurs twice counts once.

        Args:
            frame: `user_id` (string) and `item_number` (int); `position` (int) says the order of
                time, without it the rows stand in that order. Other columns are ignored.
            num_items: int, size of the corpus.

        Raises: DataError when an item number is not in the corpus.

        Example:
            >>> frame = pl.DataFrame({"user_id": ["u", "v", "u"], "item_number": [0, 0, 2]})
            >>> interactions = Interactions.from_frame(frame, num_items=3)
            >>> interactions.matrix.toarray().tolist(), interactions.user_ids
            ([[1.0, 0.0, 1.0], [1.0, 0.0, 0.0]], ['u', 'v'])
        """
        numbers = frame["item_number"].to_numpy()
        outside = np.flatnonzero((numbers < 0) | (numbers >= num_items))
        if len(outside):
            row = int(outside[0])
            raise DataError(
                f"interaction {row} has item number {numbers[row]}, but the corpus has {num_items} "
                "items (0 is the first). Make interactions and corpus from the same items."
            )
        user_ids = frame["user_id"].unique(maintain_order=True)
        row_of_user = pl.DataFrame({"user_id": user_ids}).with_row_index("row")
        rows = frame.select("user_id").join(
            row_of_user, on="user_id", how="left", maintain_order="left"
        )
        matrix = sparse.csr_matrix(
            (np.ones(len(numbers), np.float32), (rows["row"].to_numpy(), numbers)),
            shape=(len(user_ids), num_items),
        )
        matrix.sum_duplicates()
        matrix.data[:] = 1.0
        places = frame["position"].to_numpy() if "position" in frame.columns else 0 * numbers
        by_user = np.lexsort((places, rows["row"].to_numpy()))  # stable: row order among equals
        ends = np.cumsum(np.bincount(rows["row"].to_numpy(), minlength=len(user_ids)))
        return cls(
            matrix=matrix,
            user_ids=user_ids.to_list(),
            histories=np.split(numbers[by_user].astype(np.int32), ends[:-1]) if len(ends) else [],
        )
