"""Item-kNN: items that the same users took, nearest to what the user took last."""

from __future__ import annotations

import numpy as np
from scipy import sparse

from tfrec_llm.baselines.history_profile import history_profile
from tfrec_llm.baselines.interactions import Interactions
from tfrec_llm.baselines.popularity import popular_where_unknown
from tfrec_llm.data.queries import Queries

_ITEMS_AT_ONCE = 1024


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


def shrunk_cosine(
    matrix: sparse.csr_matrix, shrinkage: float, num_neighbours: int
) -> sparse.csr_matrix:
    """Returns `both / (sqrt(one * other) + shrinkage)` of item pairs, the largest of each row.

    `both` is the number of users who took both items, `one` and `other` who took each. Worked in
    blocks of items, so that the memory needed is that of the answer.

    Args:
        matrix: float32 CSR `(num_users, num_items)` of ones.
        shrinkage: float >= 0.
        num_neighbours: int >= 1, entries kept in a row; of equal ones any.

    Returns: float32 CSR `(num_items, num_items)`, nothing on the diagonal.

    Example:
        >>> both_users_took_both = sparse.csr_matrix(np.ones((2, 2), np.float32))
        >>> shrunk_cosine(both_users_took_both, shrinkage=2.0, num_neighbours=1).toarray().tolist()
        [[0.0, 0.5], [0.5, 0.0]]
    """
    num_items = matrix.shape[1]
    roots = np.sqrt(np.bincount(matrix.indices, minlength=num_items))
    by_item = matrix.T.tocsr()
    blocks = []
    for start in range(0, num_items, _ITEMS_AT_ONCE):
        pairs = (by_item[start : start + _ITEMS_AT_ONCE] @ matrix).tocoo()
        item, other = pairs.row + start, pairs.col
        values = pairs.data / (roots[item] * roots[other] + shrinkage)
        apart = item != other
        block = sparse.csr_matrix(
            (values[apart].astype(np.float32), (pairs.row[apart], other[apart])), shape=pairs.shape
        )
        blocks.append(_largest_of_rows(block, num_neighbours))
    if not blocks:
        return sparse.csr_matrix((num_items, num_items), dtype=np.float32)
    return sparse.vstack(blocks, format="csr")


def _largest_of_rows(matrix: sparse.csr_matrix, count: int) -> sparse.csr_matrix:
    lengths = np.diff(matrix.indptr)
    if not len(lengths) or lengths.max() <= count:
        return matrix
    row_of = np.repeat(np.arange(len(lengths)), lengths)
    largest_first = np.lexsort((-matrix.data, row_of))
    place = np.arange(matrix.nnz) - np.repeat(matrix.indptr[:-1], lengths)
    kept = np.sort(largest_first[place < count])
    starts = np.concatenate([[0], np.cumsum(np.minimum(lengths, count))])
    return sparse.csr_matrix((matrix.data[kept], matrix.indices[kept], starts), shape=matrix.shape)
