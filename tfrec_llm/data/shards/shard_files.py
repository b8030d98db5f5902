"""A folder of shards: what lies where, and what meta.json says of it."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from tfrec_llm.errors import CorruptFileError, DataError
from tfrec_llm.files import sha256_of_file

META_FILE = "meta.json"
ITEMS_FILE = "items.parquet"
USERS_FILE = "users.parquet"
FORMAT = 1


@dataclass(frozen=True)
class ShardMeta:
    """What is known of a folder of shards without reading them.

    Attributes:
        name: str, what the data calls itself in reports.
        users: int, users with an interaction.
        items: int.
        interactions: int.
        has_order: bool, False when there is neither time nor a meaningful row order.
        quarantined: `table: reason` → rows set aside.
        below_min_rating: int, sound rows that are no positives.
        item_id_column: str, in the table of items as it was given.
        item_text_columns: the columns of it that the texts were joined of.
        warnings: sentences for a person.
        files: file name, relative to the folder → `bytes` (int) and `sha256` (hex); those of
            shards also `users` and `interactions` (ints).
        sha256: hex digest of the contents: of the digests of all files in order.
    """

    name: str
    users: int
    items: int
    interactions: int
    has_order: bool
    quarantined: dict[str, int]
    below_min_rating: int
    item_id_column: str
    item_text_columns: list[str]
    warnings: list[str]
    files: dict[str, dict[str, Any]]
    sha256: str
    format: int = field(default=FORMAT)

    @property
    def shards(self) -> list[str]:
        """The names of the TFRecord files, in order."""
        return sorted(name for name in self.files if name.endswith(".tfrecord"))

    def write(self, folder: Path) -> None:
        """Writes meta.json, the last file of a folder of shards."""
        text = json.dumps(asdict(self), indent=1, ensure_ascii=False, allow_nan=False)
        (folder / META_FILE).write_text(text + "\n", encoding="utf-8")


def shard_name(number: int, num_shards: int) -> str:
    """Returns the name of a shard below the folder.

    Example:
        >>> shard_name(3, 16)
        'shards/interactions-00003-of-00016.tfrecord'
    """
    return f"shards/interactions-{number:05d}-of-{num_shards:05d}.tfrecord"


def read_meta(folder: str | Path) -> ShardMeta:
    """Reads meta.json and compares every file with it.

    The tables beside the shards are compared by sha256, the shards by their size alone: each
    record of a TFRecord file has a checksum, which is compared when it is read.

    Args:
        folder: what `tfrec-llm shard` wrote.

    Returns: `ShardMeta`.

    Raises:
        DataError: when the folder holds no shards.
        CorruptFileError: when a file is missing or not as it was written.
    """
    folder = Path(folder)
    path = folder / META_FILE
    if not path.is_file():
        raise DataError(
            f"{folder} (data.folder) holds no shards: there is no {META_FILE}. Write them with: "
            f"tfrec-llm shard CONFIG.yaml --out {folder}"
        )
    try:
        meta = ShardMeta(**json.loads(path.read_text(encoding="utf-8")))
        sizes = {name: int(about["bytes"]) for name, about in meta.files.items()}
        digests = {name: str(about["sha256"]) for name, about in meta.files.items()}
    except (ValueError, TypeError, KeyError) as error:
        raise CorruptFileError(
            f"{path} is not as it was written ({error}). Write the shards again."
        ) from error
    if meta.format != FORMAT:
        raise CorruptFileError(
            f"{path} has the format {meta.format}, this version reads {FORMAT}. Write the shards "
            "again."
        )
    for name, size in sizes.items():
        file = folder / name
        if not file.is_file() or file.stat().st_size != size:
            raise CorruptFileError(
                f"{file} is missing or has not the {size} bytes that were written. Write the "
                "shards again."
            )
        if not name.endswith(".tfrecord") and sha256_of_file(file) != digests[name]:
            raise CorruptFileError(
                f"{file} is not as it was written (sha256 differs). Write the shards again."
            )
    return meta
