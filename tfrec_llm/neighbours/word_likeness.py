"""Likeness of items by the words of their texts."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy import sparse
from sklearn.feature_extraction.text import TfidfVectorizer

from tfrec_llm.neighbours.largest_of_rows import largest_of_rows
from tfrec_llm.neighbours.words_of import words_of

_ITEMS_AT_ONCE = 512
_FREQUENT = 0.1  # share of the texts in which a word says nothing any more
_MIN_FREQUENT = 100


class WordLikeness:
    """Cosines of the TF-IDF vectors of texts, without words that a tenth of the corpus holds.

    Args:
        item_texts: num_items str.

    Example:
        >>> likeness = WordLikeness(["blue sea", "red rock", "sea food"])
        >>> old = np.array([True, True, False])
        >>> likeness.pairs(old, ~old, 5).toarray().astype(float).round(2).tolist()
        [[0.0, 0.0, 0.37], [0.0, 0.0, 0.0], [0.0, 0.0, 0.0]]
    """

    def __init__(self, item_texts: Sequence[str]) -> None:
        most = max(_MIN_FREQUENT, int(_FREQUENT * len(item_texts)))
        vectorizer = TfidfVectorizer(
            analyzer=words_of, sublinear_tf=True, max_df=most, dtype=np.float32
        )
        try:
            self.vectors = vectorizer.fit_transform(item_texts)
        except ValueError:  # "empty vocabulary": no text holds a word
            self.vectors = sparse.csr_matrix((len(item_texts), 1), dtype=np.float32)

    def pairs(
        self, is_row: np.ndarray, is_column: np.ndarray, num_neighbours: int
    ) -> sparse.csr_matrix:
        """Returns the likeness of pairs of items, the largest of each row.

        Args:
            is_row: bool `(num_items,)`, items that get neighbours; other rows are empty.
            is_column: bool `(num_items,)`, items that may be neighbours.
            num_neighbours: int >= 1, entries kept in a row.

        Returns: float32 CSR `(num_items, num_items)`, values in (0, 1], nothing on the diagonal.
        """
        num_items = self.vectors.shape[0]
        columns = sparse.diags(np.asarray(is_column, np.float32))
        words = (columns @ self.vectors).T.tocsr()
        blocks = [sparse.csr_matrix((0, num_items), dtype=np.float32)]
        for start in range(0, num_items, _ITEMS_AT_ONCE):
            stop = min(start + _ITEMS_AT_ONCE, num_items)
            rows = sparse.diags(np.asarray(is_row[start:stop], np.float32))
            found = ((rows @ self.vectors[start:stop]) @ words).tocoo()
            kept = (found.row + start != found.col) & (found.data > 0.0)
            values = (found.data[kept], (found.row[kept], found.col[kept]))
            block = sparse.csr_matrix(values, shape=found.shape, dtype=np.float32)
            blocks.append(largest_of_rows(block, num_neighbours))
        return sparse.vstack(blocks, format="csr")

    def new_pairs(self, is_new: np.ndarray, num_neighbours: int) -> sparse.csr_matrix:
        """Returns `pairs` in which one item is new, or both are; new items have rows of all."""
        everything = np.ones_like(is_new)
        return self.pairs(~is_new, is_new, num_neighbours) + self.pairs(
            is_new, everything, num_neighbours
        )
