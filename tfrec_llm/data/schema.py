"""The tables that every later stage works on: items, interactions, users."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import polars as pl

ITEM_COLUMNS = {"item_id": pl.String, "title": pl.String, "text": pl.String}
INTERACTION_COLUMNS = {
    "user_id": pl.String,
    "item_id": pl.String,
    "position": pl.Int64,
    "timestamp": pl.Float64,
    "rating": pl.Float64,
}
USER_COLUMNS = {"user_id": pl.String, "text": pl.String}


@dataclass(frozen=True)
class Quarantine:
    """Rows that were read and set aside, each with its reason.

    Attributes:
        rows: frame of `table`, `file`, `row` (int, 1 = first data row), `reason` (short code),
            `detail` (what was found) and `content` (the row as JSON).
        counted: `table: reason` → how many, of rows that lie in files elsewhere.
    """

    rows: pl.DataFrame
    counted: Mapping[str, int] = field(default_factory=dict)

    @property
    def counts(self) -> dict[str, int]:
        """Returns how many rows were set aside for each `table: reason`."""
        if self.rows.is_empty():
            return dict(self.counted)
        counted = self.rows.group_by("table", "reason").len().sort("table", "reason")
        return {f"{t}: {r}": int(n) for t, r, n in counted.iter_rows()}


@dataclass(frozen=True)
class Dataset:
    """Validated tables; strings are ids here and at every border.

    Attributes:
        name: str, what the data calls itself, for reports.
        items: `ITEM_COLUMNS`, one row an item, in file order, ids unique. `title` is the first
            text column (for display), `text` all text columns joined with ". ".
        interactions: `INTERACTION_COLUMNS`, unique (user, item) pairs, sorted by user (in order
            of first appearance) and `position`, the place 0, 1, 2 … in the user's history.
            `timestamp` is in seconds since 1970, null where the data has none.
        users: `USER_COLUMNS`; empty where the data has no user texts.
        has_order: bool, False when the data has neither time nor a meaningful row order.
        sha256: hex digest of the contents of the three tables.
        quarantine: the rows that were set aside.
        warnings: sentences for a person about data that is usable but odd.
        num_below_min_rating: how many sound interactions were left out as no positives.
        item_id_column: str, the column of ids in the table of items as it was given.
        item_text_columns: the columns of it that `text` was joined of, in order.
    """

    name: str
    items: pl.DataFrame
    interactions: pl.DataFrame
    users: pl.DataFrame
    has_order: bool
    sha256: str
    quarantine: Quarantine = field(repr=False)
    warnings: tuple[str, ...] = ()
    num_below_min_rating: int = 0
    item_id_column: str = "item_id"
    item_text_columns: tuple[str, ...] = ()

    @property
    def num_users(self) -> int:
        """How many users have an interaction."""
        return int(self.interactions["user_id"].n_unique())

    @property
    def num_interactions(self) -> int:
        """How many interactions there are."""
        return self.interactions.height
