"""Tables → TFRecord shards, one record a user, in memory that does not grow with the data.

Two passes. The first reads the interactions part by part, sets bad rows aside and lays the others
by the hash of their user into as many buckets as there shall be shards. The second takes one bucket
after another: repeated pairs go, the rest is put in order of time and written as records of

    user_id           bytes
    item_numbers      int64 each, rows of items.parquet, oldest first
    timestamp_micros  int64 each, microseconds since 1970; left out where there are no times

The most memory is taken by the table of items, and by one part or one bucket.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import zlib
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import IO, Any

import numpy as np
import polars as pl

from tfrec_llm.data.check_interactions import TIME, check_rows
from tfrec_llm.data.check_texts import columns_of_text
from tfrec_llm.data.file_formats import ENDINGS, read_raw_batches, read_raw_table
from tfrec_llm.data.raw_table import (
    QUARANTINE_COLUMNS,
    ROW,
    RawTable,
    check_good_share,
    quarantine_lines,
    write_quarantine,
)
from tfrec_llm.data.schema import USER_COLUMNS, Quarantine
from tfrec_llm.data.shards.shard_files import ITEMS_FILE, USERS_FILE, ShardMeta, shard_name
from tfrec_llm.data.tables import read_items, read_users
from tfrec_llm.errors import DataError, UsageError
from tfrec_llm.files import atomic_folder, sha256_of_file
from tfrec_llm.progress import Progress, Silent

BATCH_ROWS = 200_000
_ROWS_IN_MEMORY = 2_000_000  # before they go to their buckets, which would else be many small files
_BUCKETS = ".buckets"
_MICROSECONDS = 1e6


def write_shards(
    items: str | Path,
    interactions: str | Path,
    users: str | Path | None,
    out: str | Path,
    *,
    num_shards: int = 16,
    item_id: str = "item_id",
    item_text: Sequence[str] | None = None,
    user_id: str = "user_id",
    user_text: Sequence[str] | None = None,
    timestamp: str | None = None,
    rating: str | None = None,
    min_rating: float | None = None,
    ordered: bool = True,
    max_quarantined_share: float = 0.5,
    name: str = "shards",
    batch_rows: int = BATCH_ROWS,
    progress: Progress | None = None,
) -> ShardMeta:
    """Writes a folder of shards, whole or not at all.

    Beside the shards lie `items.parquet`, `users.parquet` (users with a text), `quarantine/`
    (rows set aside, with their reasons) and, written last, `meta.json`. Rows are checked by the
    rules of `read_tables`.

    Args:
        items: one row an item, as in `read_tables`.
        interactions: a file, or a folder of such files, which are read in the order of their names.
        users: free text about users, or None.
        out: the folder to write; must not exist, or be empty.
        num_shards: int >= 1. The interactions of one shard must fit into memory, at about 200
            bytes each.
        item_id: the column of item ids.
        item_text: text columns of the items, as in `read_tables`.
        user_id: the column of user ids.
        user_text: text columns of the users, as in `read_tables`.
        timestamp: the column of times, as in `read_tables`.
        rating: the column of ratings, as in `read_tables`.
        min_rating: float, leaves out interactions with a lower rating.
        ordered: False says that rows without timestamps stand in no order.
        max_quarantined_share: float in [0, 1], more rejected rows than this share of a table is
            an error.
        name: what the data calls itself in reports.
        batch_rows: int >= 1, rows checked at a time.
        progress: listener.

    Returns: what meta.json says.
    Raises: DataError when the tables cannot be used; FileExistsError when `out` holds something.
    """
    if num_shards < 1:
        raise UsageError(f"`num_shards` must be at least 1, got {num_shards}.")
    progress = progress or Silent()
    files = _interaction_files(Path(interactions).expanduser())
    raw_items = read_raw_table(items, "items")
    item_rows, set_aside, warnings = read_items(
        raw_items, item_id=item_id, item_text=item_text, max_quarantined_share=max_quarantined_share
    )
    if item_rows.height < 2:
        raise DataError(f"{items} holds only one item; at least two are needed")
    user_rows = pl.DataFrame(schema=USER_COLUMNS)
    set_aside_rows = [set_aside.rows]
    if users is not None:
        user_rows, of_users, more = read_users(
            users, user_id=user_id, user_text=user_text, max_quarantined_share=max_quarantined_share
        )
        set_aside_rows.append(of_users.rows)
        warnings += more

    with atomic_folder(out) as folder:
        (folder / "shards").mkdir()
        quarantine = Quarantine(pl.concat(set_aside_rows))
        write_quarantine(quarantine, folder / "quarantine")
        item_rows.write_parquet(folder / ITEMS_FILE)
        user_rows.filter(pl.col("text") != "").write_parquet(folder / USERS_FILE)
        with _Rejections(folder / "quarantine" / "interactions.jsonl") as rejections:
            buckets = _Buckets(folder / _BUCKETS, num_shards, [str(file) for file in files])
            below, has_times = 0, True
            columns = {
                "user_id": user_id,
                "item_id": item_id,
                "timestamp": timestamp,
                "rating": rating,
                "min_rating": min_rating,
            }
            numbers = item_rows.select(
                pl.col("item_id").alias(item_id),
                pl.int_range(pl.len(), dtype=pl.Int32).alias("item_number"),
            )
            for number, file in enumerate(files):
                rows_of_file = 0
                for raw in read_raw_batches(file, "interactions", batch_rows):
                    below += check_rows(raw, item_rows["item_id"], **columns)  # type: ignore[arg-type]
                    rejections.add(raw)
                    found = raw.frame.join(numbers, on=item_id, how="left", maintain_order="left")
                    has_times &= not found[TIME].null_count()
                    buckets.add(found, user_id, number)
                    rows_of_file += raw.num_rows
                    progress.message(
                        f"{file}: {rows_of_file} rows read, {rejections.total} set aside"
                    )
            buckets.flush()
            rejections.check(str(interactions), max_quarantined_share)
            about: dict[str, dict[str, Any]] = {}
            for shard in range(num_shards):
                frame, repeated = buckets.take(shard, (user_id, item_id), item_rows["item_id"])
                rejections.write(repeated)
                shard_file = shard_name(shard, num_shards)
                about[shard_file] = _write_shard(folder / shard_file, frame)
                progress.advance("shards", shard + 1, num_shards)
        shutil.rmtree(folder / _BUCKETS)
        num_users = sum(shard["users"] for shard in about.values())
        if num_users < 2:
            left = (
                f", after {below} rows under data.min_rating = {min_rating} went" if below else ""
            )
            raise DataError(
                f"{interactions} (interactions) leaves {num_users} users{left}; training needs at "
                "least two"
            )
        for file_name in (ITEMS_FILE, USERS_FILE, *about):
            path = folder / file_name
            about.setdefault(file_name, {}).update(
                bytes=path.stat().st_size, sha256=sha256_of_file(path)
            )
        meta = ShardMeta(
            name=name,
            users=num_users,
            items=item_rows.height,
            interactions=sum(shard.get("interactions", 0) for shard in about.values()),
            has_order=ordered or has_times,
            quarantined=quarantine.counts | rejections.counts,
            below_min_rating=below,
            item_id_column=item_id,
            item_text_columns=list(
                columns_of_text(raw_items, item_id) if item_text is None else item_text
            ),
            warnings=list(warnings),
            files=about,
            sha256=hashlib.sha256(
                json.dumps([[n, about[n]["sha256"]] for n in sorted(about)]).encode()
            ).hexdigest(),
        )
        meta.write(folder)
    return meta


def shard_of(user_ids: pl.Series, num_shards: int) -> pl.Series:
    """Returns the shard of each user, which depends on nothing but the id.

    Example:
        >>> shard_of(pl.Series(["u", "v", "u"]), 4).to_list()
        [2, 0, 2]
    """
    distinct = user_ids.unique()
    shards = [zlib.crc32(user_id.encode()) % num_shards for user_id in distinct]
    return user_ids.replace_strict(distinct, pl.Series(shards, dtype=pl.Int32))


def _interaction_files(path: Path) -> list[Path]:
    if not path.is_dir():
        return [path]
    files = sorted(file for file in path.iterdir() if file.name.lower().endswith(ENDINGS))
    if not files:
        raise DataError(
            f"{path} (data.interactions) holds no file whose name ends in one of "
            f"{', '.join(ENDINGS)}"
        )
    return files


class _Rejections:
    """Rows set aside, written as they come; only their numbers stay in memory."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.num_rows = 0
        self._reasons: Counter[str] = Counter()
        self._first: dict[str, tuple[int, str]] = {}
        self._file: IO[str] | None = None

    def __enter__(self) -> _Rejections:
        return self

    def __exit__(self, *_: object) -> None:
        if self._file is not None:
            self._file.close()

    @property
    def total(self) -> int:
        return self._reasons.total()

    @property
    def counts(self) -> dict[str, int]:
        return {
            f"interactions: {reason}": self._reasons[reason] for reason in sorted(self._reasons)
        }

    def add(self, raw: RawTable) -> None:
        self.num_rows += raw.num_rows
        self.write(raw.quarantine)

    def write(self, rows: pl.DataFrame) -> None:
        if rows.is_empty():
            return
        if self._file is None:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self._file = open(self.path, "w", encoding="utf-8")  # noqa: SIM115 - closed on exit
        self._file.writelines(quarantine_lines(rows))
        self._reasons.update(dict(rows["reason"].value_counts().iter_rows()))
        first = rows.unique("reason", keep="first", maintain_order=True)
        for reason, row, detail in first.select("reason", "row", "detail").iter_rows():
            self._first.setdefault(reason, (row, detail))

    def check(self, file: str, max_quarantined_share: float) -> None:
        check_good_share(
            f"{file} (interactions)",
            self.num_rows,
            self._reasons,
            self._first,
            max_quarantined_share,
        )


class _Buckets:
    """Interactions on disk, those of one shard together."""

    def __init__(self, folder: Path, num_shards: int, files: Sequence[str]) -> None:
        self.folder = folder
        self.num_shards = num_shards
        self._files = list(files)
        self._waiting: list[pl.DataFrame] = []
        self._parts = 0
        self._rows = 0
        for shard in range(num_shards):
            (folder / str(shard)).mkdir(parents=True)

    def add(self, frame: pl.DataFrame, user_id: str, file: int) -> None:
        if frame.is_empty():
            return
        rows = frame.select(
            pl.col(user_id).alias("user_id"),
            "item_number",
            pl.col(TIME).alias("time"),
            pl.int_range(self._rows, self._rows + pl.len(), dtype=pl.Int64).alias("order"),
            pl.lit(file, pl.Int32).alias("file"),
            pl.col(ROW).alias("row"),
        ).with_columns(shard_of(frame[user_id], self.num_shards).alias("shard"))
        self._rows += frame.height
        self._waiting.append(rows)
        if sum(part.height for part in self._waiting) >= _ROWS_IN_MEMORY:
            self.flush()

    def flush(self) -> None:
        """Writes what waits in memory."""
        if not self._waiting:
            return
        rows = pl.concat(self._waiting)
        self._waiting.clear()
        for (shard,), part in rows.partition_by("shard", as_dict=True, include_key=False).items():
            part.write_ipc(self.folder / str(shard) / f"{self._parts:08d}.arrow")
        self._parts += 1

    def take(
        self, shard: int, columns: tuple[str, str], item_ids: pl.Series
    ) -> tuple[pl.DataFrame, pl.DataFrame]:
        """Returns the interactions of a shard by user and time, and the repeated ones.

        The bucket is gone then.
        """
        folder = self.folder / str(shard)
        parts = [pl.read_ipc(part) for part in sorted(folder.iterdir())]
        shutil.rmtree(folder)
        if not parts:
            return pl.DataFrame(), pl.DataFrame(schema=QUARANTINE_COLUMNS)
        frame = pl.concat(parts).sort("user_id", "time", "order")
        is_first = frame.select(pl.struct("user_id", "item_number").is_first_distinct()).to_series()
        repeated = frame.filter(~is_first).sort("order")
        repeated = repeated.with_columns(
            pl.Series("item_id", item_ids.gather(repeated["item_number"]), pl.String),
            pl.Series("file", self._files, pl.String).gather(repeated["file"]),
        )
        user_id, item_id = columns
        rejected = repeated.select(
            pl.lit("interactions").alias("table"),
            "file",
            "row",
            pl.lit("duplicate_pair").alias("reason"),
            pl.format(
                "user '{}' took item '{}' before; the first time is kept", "user_id", "item_id"
            ).alias("detail"),
            pl.struct(pl.col("user_id").alias(user_id), pl.col("item_id").alias(item_id))
            .struct.json_encode()
            .alias("content"),
        )
        return frame.filter(is_first), rejected


def _write_shard(path: Path, frame: pl.DataFrame) -> dict[str, Any]:
    """Writes a record for each user of a frame in order, and says how much that was."""
    from tfrec_llm.keras_api import tf

    with tf.io.TFRecordWriter(str(path)) as writer:
        if frame.is_empty():
            return {"users": 0, "interactions": 0}
        lengths = frame["user_id"].rle()
        ends = lengths.struct.field("len").to_numpy().cumsum()
        items = frame["item_number"].to_numpy().astype(np.int64)
        has_times = not frame["time"].null_count()
        micros = np.zeros(0, np.int64)
        if has_times:
            micros = np.round(frame["time"].to_numpy() * _MICROSECONDS).astype(np.int64)
        begin = 0
        for user_id, end in zip(lengths.struct.field("value").to_list(), ends, strict=True):
            features = {
                "user_id": _feature(tf, bytes_list=tf.train.BytesList(value=[user_id.encode()])),
                "item_numbers": _int64s(tf, items[begin:end]),
            }
            if has_times:
                features["timestamp_micros"] = _int64s(tf, micros[begin:end])
            example = tf.train.Example(features=tf.train.Features(feature=features))
            writer.write(example.SerializeToString(deterministic=True))
            begin = end
    return {"users": len(ends), "interactions": frame.height}


def _feature(tf: Any, **value: Any) -> Any:
    return tf.train.Feature(**value)


def _int64s(tf: Any, values: np.ndarray) -> Any:
    return _feature(tf, int64_list=tf.train.Int64List(value=values.tolist()))
