"""Item ids ↔ dense item numbers: the only place that turns one into the other."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
import polars as pl

UNKNOWN = -1


class Catalogue:
    """The items of a corpus in a fixed order; number i is the item of row i.

    Args:
        items: frame with `item_id`, `title`, `text`, ids unique.

    Example:
        >>> frame = pl.DataFrame({"item_id": ["b", "a"], "title": ["B", "A"], "text": ["B.", "A."]})
        >>> catalogue = Catalogue(frame)
        >>> catalogue.numbers(["a", "b", "?"]).tolist()
        [1, 0, -1]
        >>> catalogue.item_ids[1]
        'a'
    """

    def __init__(self, items: pl.DataFrame) -> None:
        self.frame = items.select("item_id", "title", "text")
        self.item_ids: list[str] = self.frame["item_id"].to_list()
        self.titles: list[str] = self.frame["title"].to_list()
        self.texts: list[str] = self.frame["text"].to_list()
        self._number = {item_id: i for i, item_id in enumerate(self.item_ids)}

    def __len__(self) -> int:
        return len(self.item_ids)

    def __contains__(self, item_id: object) -> bool:
        return item_id in self._number

    def numbers(self, item_ids: Iterable[str]) -> np.ndarray:
        """Returns int32 item numbers, `UNKNOWN` (-1) for ids that are not in the corpus."""
        return np.fromiter((self._number.get(i, UNKNOWN) for i in item_ids), dtype=np.int32)

    def ids(self, numbers: Sequence[int] | np.ndarray) -> list[str]:
        """Returns the ids of item numbers; numbers below 0 (nothing there) are left out."""
        return [self.item_ids[int(i)] for i in numbers if i >= 0]
