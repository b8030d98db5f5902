"""Files anywhere that Beam can read → parts of tables, as if they lay here."""

from __future__ import annotations

import contextlib
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

import polars as pl
from apache_beam.io.filesystem import BeamIOError, CompressionTypes
from apache_beam.io.filesystems import FileSystems

from tfrec_llm.data.file_formats import ENDINGS, LIST_END, read_raw_batches
from tfrec_llm.data.raw_table import ROW, RawTable, rejected_rows
from tfrec_llm.errors import DataError

_RECORDS = (".tfrecord", ".tfrecord.gz")
_BATCH_ROWS = 10_000


def matching_files(pattern: str) -> list[str]:
    """Returns the files of a pattern, in order.

    Args:
        pattern: a file, a folder, or a pattern such as `gs://bucket/items-*.parquet`.

    Raises: DataError when there are none, or one has an unknown form.
    """
    wanted = f"{pattern.rstrip('/')}/*" if Path(pattern).is_dir() else pattern
    try:
        found = [about.path for about in FileSystems.match([wanted])[0].metadata_list]
    except (BeamIOError, ValueError) as error:
        raise DataError(f"{pattern} cannot be listed: {error}") from error
    files = sorted(path for path in found if not Path(path).name.startswith((".", "_")))
    if not files:
        raise DataError(f"{pattern} names no file. Check the path")
    known = (*ENDINGS, *_RECORDS)
    for path in files:
        if not path.lower().endswith(known):
            raise DataError(f"{path}: the name must end in one of {', '.join(known)}")
    return files


def table_parts(path: str, table: str, list_columns: Sequence[str] = ()) -> Iterator[RawTable]:
    """Yields a file part by part, 10 000 rows at a time, named as it was given.

    Args:
        path: a file that Beam can read; one that lies elsewhere is copied here for the time.
        table: "items" or "users".
        list_columns: columns of Parquet and TFRecord files in which each value of a list is
            followed by `LIST_END`; the lists of others are joined with ", ".

    Raises: DataError when the file cannot be read.
    """
    with _here(path) as local:
        parts = (
            _record_parts(local, table, list_columns)
            if path.lower().endswith(_RECORDS)
            else read_raw_batches(local, table, _BATCH_ROWS, list_columns=list_columns)
        )
        for part in parts:
            part.file = path
            part.set_aside_rows = [
                rows.with_columns(pl.lit(path).alias("file")) for rows in part.set_aside_rows
            ]
            yield part


@contextlib.contextmanager
def _here(path: str) -> Iterator[Path]:
    if "://" not in path:
        yield Path(path)
        return
    with tempfile.TemporaryDirectory() as folder:
        local = Path(folder) / path.rsplit("/", 1)[-1]
        try:
            with (
                FileSystems.open(path, compression_type=CompressionTypes.UNCOMPRESSED) as source,
                open(local, "wb") as target,
            ):
                shutil.copyfileobj(source, target)
        except (BeamIOError, OSError) as error:
            raise DataError(f"{path} ({path}) cannot be read: {error}") from error
        yield local


def _record_parts(path: Path, table: str, list_columns: Sequence[str]) -> Iterator[RawTable]:
    """Yields tf.train.Example records as rows, a feature being a column."""
    from google.protobuf.message import DecodeError

    from tfrec_llm.serving.plain_tensorflow import plain_tensorflow

    tf = plain_tensorflow()
    compression = "GZIP" if path.name.lower().endswith(".gz") else ""
    records = tf.data.TFRecordDataset(str(path), compression).batch(_BATCH_ROWS)
    first = 1
    columns: dict[str, None] = {}
    try:
        for batch in records:
            rows, numbers, broken = [], [], []
            for number, record in enumerate(batch.numpy().tolist(), start=first):
                try:
                    features = tf.train.Example.FromString(record).features.feature
                    rows.append(
                        {n: _text(features[n], is_list=n in list_columns) for n in features}
                    )
                    numbers.append(number)
                except (DecodeError, UnicodeDecodeError) as error:
                    broken.append((number, "bad_row", f"no tf.train.Example ({error})", ""))
            for row in rows:
                columns |= dict.fromkeys(row)
            frame = pl.DataFrame(
                {name: [row.get(name, "") for row in rows] for name in columns},
                schema=dict.fromkeys(columns, pl.String),
            ).with_columns(pl.Series(ROW, numbers, dtype=pl.Int64))
            count = len(rows) + len(broken)
            yield RawTable(
                table, str(path), frame, count, [rejected_rows(table, str(path), broken)]
            )
            first += count
    except tf.errors.OpError as error:
        raise DataError(f"{path} cannot be read to its end: {error.message}") from error


def _text(feature: object, *, is_list: bool) -> str:
    kind = feature.WhichOneof("kind")  # type: ignore[attr-defined]
    values = [] if kind is None else getattr(feature, kind).value
    texts = [value.decode() if isinstance(value, bytes) else str(value) for value in values]
    return "".join(text + LIST_END for text in texts) if is_list else ", ".join(texts)
