"""What became of a catalogue: which items are new, changed or gone since the last one."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import polars as pl


@dataclass(frozen=True)
class CatalogueChanges:
    """A new catalogue in the order in which it is numbered, and where its items stood before.

    Items that stay keep their order of before, and new ones follow in the order of their table, so
    that the order of a table alone changes nothing.

    Attributes:
        items: frame of `item_id`, `title`, `text`, one row an item.
        previous: int32 `(num_items,)`, the number of each item before, -1 for a new one.
        has_new_text: bool `(num_items,)`, whether the text is another than before, or the first.
        num_retitled: int, items whose title alone is another.
        num_removed: int, items of before that are gone.
    """

    items: pl.DataFrame
    previous: np.ndarray
    has_new_text: np.ndarray
    num_retitled: int
    num_removed: int

    @property
    def num_new(self) -> int:
        """Returns how many items were not there before."""
        return int((self.previous < 0).sum())

    @property
    def num_changed(self) -> int:
        """Returns how many items were there before with another text or title."""
        return int((self.has_new_text & (self.previous >= 0)).sum()) + self.num_retitled

    @property
    def num_unchanged(self) -> int:
        """Returns how many items are as they were."""
        return len(self.previous) - self.num_new - self.num_changed

    @property
    def is_nothing(self) -> bool:
        """Says whether the catalogue is as it was."""
        return not (self.num_new or self.num_changed or self.num_removed)


def catalogue_changes(before: pl.DataFrame, now: pl.DataFrame) -> CatalogueChanges:
    """Compares two catalogues by the ids of their items.

    Args:
        before: frame with `item_id`, `title`, `text` (null where it is not known), ids unique.
        now: the same.

    Returns: `CatalogueChanges`.

    Example:
        >>> names = ["item_id", "title", "text"]
        >>> before = pl.DataFrame([("a", "A", "A."), ("b", "B", "B.")], names, orient="row")
        >>> now = pl.DataFrame([("c", "C", "C."), ("b", "B", "Bee.")], names, orient="row")
        >>> changes = catalogue_changes(before, now)
        >>> changes.items["item_id"].to_list(), changes.previous.tolist(), changes.num_removed
        (['b', 'c'], [1, -1], 1)
        >>> changes.has_new_text.tolist()
        [True, True]
    """
    known = before.select(
        "item_id", pl.col("title").alias("old_title"), pl.col("text").alias("old_text")
    ).with_row_index("number")
    joined = (
        now.select("item_id", "title", "text")
        .with_row_index("row")
        .join(known, on="item_id", how="left")
        .sort("number", "row", nulls_last=True)
    )
    has_new_text = joined["text"].ne_missing(joined["old_text"])
    is_old = joined["number"].is_not_null()
    retitled = is_old & ~has_new_text & joined["title"].ne_missing(joined["old_title"])
    return CatalogueChanges(
        items=joined.select("item_id", "title", "text"),
        previous=joined["number"].cast(pl.Int32).fill_null(-1).to_numpy().copy(),
        has_new_text=has_new_text.to_numpy().copy(),
        num_retitled=int(retitled.sum()),
        num_removed=before.height - int(is_old.sum()),
    )
