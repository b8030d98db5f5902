"""A folder of shards as what training and evaluation start from."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import polars as pl

from tfrec_llm.data.raw_table import QUARANTINE_COLUMNS
from tfrec_llm.data.schema import Quarantine
from tfrec_llm.data.shards.shard_files import ITEMS_FILE, USERS_FILE, read_meta
from tfrec_llm.data.shards.shard_reader import ShardReader


@dataclass(frozen=True)
class ShardedDataset:
    """What `Dataset` holds, with a reader in the place of the table of interactions.

    Attributes:
        reader: `ShardReader`.
        num_users: int, users with an interaction.
        num_interactions: int.

    The others are those of `Dataset`; `users` holds only users with a text.
    """

    name: str
    items: pl.DataFrame
    users: pl.DataFrame
    reader: ShardReader
    num_users: int
    num_interactions: int
    has_order: bool
    sha256: str
    quarantine: Quarantine = field(repr=False)
    warnings: tuple[str, ...] = ()
    num_below_min_rating: int = 0
    item_id_column: str = "item_id"
    item_text_columns: tuple[str, ...] = ()


def read_shards(folder: str | Path) -> ShardedDataset:
    """Opens what `tfrec-llm shard` wrote; the interactions stay on disk.

    Args:
        folder: the folder of shards.

    Returns: `ShardedDataset`.
    Raises: DataError when there are no shards; CorruptFileError when a file is not as it was
        written.
    """
    folder = Path(folder).expanduser()
    meta = read_meta(folder)
    return ShardedDataset(
        name=meta.name,
        items=pl.read_parquet(folder / ITEMS_FILE),
        users=pl.read_parquet(folder / USERS_FILE),
        reader=ShardReader(folder, meta.shards),
        num_users=meta.users,
        num_interactions=meta.interactions,
        has_order=meta.has_order,
        sha256=meta.sha256,
        quarantine=Quarantine(pl.DataFrame(schema=QUARANTINE_COLUMNS), meta.quarantined),
        warnings=tuple(meta.warnings),
        num_below_min_rating=meta.below_min_rating,
        item_id_column=meta.item_id_column,
        item_text_columns=tuple(meta.item_text_columns),
    )
