"""What a pointwise ranker reads: the tokens of all texts, and which text belongs to whom."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from tfrec_llm.data.padding import left_padded
from tfrec_llm.data.queries import Queries
from tfrec_llm.fusion.padding_mask import mean_of_tokens


@dataclass(frozen=True)
class RankerFeatures:
    """Token features of items and of user texts, in memory.

    Attributes:
        item_tokens: float16 `(num_items, T, feature_dim)`, zeros at padding.
        text_tokens: float16 `(num_texts, S, feature_dim)`, of the texts of users.
        text_rows: user text → its row in `text_tokens`.
        item_vectors: float16 `(num_items, feature_dim)`, the mean of each item's tokens: what
            stands for it in a history. Made here.

    Example:
        >>> features = RankerFeatures(np.ones((2, 3, 4), np.float16), np.zeros((0, 1, 4)), {})
        >>> features.item_vectors.shape
        (2, 4)
    """

    item_tokens: np.ndarray
    text_tokens: np.ndarray
    text_rows: Mapping[str, int]
    item_vectors: np.ndarray = field(init=False)

    def __post_init__(self) -> None:
        """Averages the tokens of each item, a block at a time."""
        blocks = [
            mean_of_tokens(self.item_tokens[i : i + 1024]).astype(np.float16)
            for i in range(0, len(self.item_tokens), 1024)
        ]
        empty = np.zeros((0, self.item_tokens.shape[-1]), np.float16)
        object.__setattr__(self, "item_vectors", np.concatenate([empty, *blocks]))

    def padded_text_tokens(self) -> np.ndarray:
        """Returns the tokens of user texts and, as the last row, of nobody's: zeros."""
        nothing = np.zeros((1, *self.text_tokens.shape[1:]), np.float16)
        return np.concatenate([self.text_tokens.astype(np.float16), nothing])

    def rows_of(self, cases: Queries, max_history: int) -> tuple[np.ndarray, np.ndarray]:
        """Returns what is known in each case, as numbers.

        Args:
            cases: n cases.
            max_history: int, most recent items that are kept.

        Returns: int32 `(n, max_history)` item numbers, -1 on the left, and int32 `(n,)` rows of
            `padded_text_tokens`.
        """
        histories = left_padded(cases.histories, max_length=max_history, min_length=max_history)
        nobody = len(self.text_tokens)
        rows = [self.text_rows[text] if text else nobody for text in cases.texts]
        return histories, np.asarray(rows, np.int32)
