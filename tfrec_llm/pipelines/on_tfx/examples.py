"""Examples artifacts of TFX → a checked dataset, and rows → an Examples artifact."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tfx.components.util import tfxio_utils
from tfx.types import artifact_utils
from tfx.utils import io_utils
from tfx_bsl.tfxio import dataset_options

from tfrec_llm.config.run_config import DataSection
from tfrec_llm.data.schema import Dataset
from tfrec_llm.errors import DataError
from tfrec_llm.keras_api import tf
from tfrec_llm.pipelines.example_tables import (
    dataset_of_tables,
    name_of_table,
    table_from_batches,
)

SPLIT = "train"
_TELEMETRY = ["tfrec_llm"]
_BATCH_ROWS = 4096


def dataset_of_patterns(
    patterns: Sequence[str], record_batch_factory: Any, data: DataSection
) -> Dataset:
    """Reads the tables whose records lie in files.

    Args:
        patterns: file patterns, each of the records of one table; which one, the features tell.
        record_batch_factory: that of a `DataAccessor`.
        data: says what the columns are called.

    Returns: the checked tables.

    Raises: DataError when a table is missing, there twice, or cannot be used.
    """
    options = dataset_options.RecordBatchesOptions(batch_size=_BATCH_ROWS, num_epochs=1)
    tables: dict[str, Any] = {}
    for pattern in patterns:
        batches = [b.to_pydict() for b in record_batch_factory([pattern], options, None)]
        columns = sorted({name for batch in batches for name in batch})
        name = name_of_table(columns, data)
        if name in tables:
            raise DataError(f"{pattern} holds one more table of {name}; there can be only one.")
        tables[name] = table_from_batches(batches, name)
    return dataset_of_tables(tables, data)


def dataset_of_artifact(artifact: Any, data: DataSection) -> Dataset:
    """Reads an Examples artifact with a split for each table, as the Trainer reads it.

    Args:
        artifact: `Examples`, as GatherTables wrote it.
        data: says what the columns are called.

    Returns: the checked tables.
    """
    patterns = [
        io_utils.all_files_pattern(artifact_utils.get_split_uri([artifact], split))
        for split in artifact_utils.decode_split_names(artifact.split_names)
    ]
    factory = tfxio_utils.get_record_batch_factory_from_artifact([artifact], _TELEMETRY)
    return dataset_of_patterns(patterns, factory, data)


def write_examples(artifact: Any, rows: Sequence[Mapping[str, Any]]) -> None:
    """Writes rows as the one split of an Examples artifact.

    Args:
        artifact: output artifact of the type Examples.
        rows: feature → str, float, or a list of one of these.
    """
    artifact.split_names = artifact_utils.encode_split_names([SPLIT])
    artifact.set_string_custom_property("payload_format", "FORMAT_TF_EXAMPLE")
    artifact.set_string_custom_property("file_format", "tfrecords_gzip")
    folder = artifact_utils.get_split_uri([artifact], SPLIT)
    tf.io.gfile.makedirs(folder)
    write_records(os.path.join(folder, "data_tfrecord-00000-of-00001.gz"), rows)


def write_records(path: str | Path, rows: Sequence[Mapping[str, Any]]) -> None:
    """Writes rows as tf.Examples into a gzipped TFRecord file.

    Args:
        path: the file.
        rows: feature → str, float, or a list of one of these.
    """
    with tf.io.TFRecordWriter(str(path), tf.io.TFRecordOptions("GZIP")) as writer:
        for row in rows:
            features = {name: _feature(value) for name, value in row.items()}
            example = tf.train.Example(features=tf.train.Features(feature=features))
            writer.write(example.SerializeToString())


def _feature(value: Any) -> Any:
    values = value if isinstance(value, list) else [value]
    if values and isinstance(values[0], float):
        return tf.train.Feature(float_list=tf.train.FloatList(value=values))
    encoded = [text.encode("utf-8", "replace") for text in values]
    return tf.train.Feature(bytes_list=tf.train.BytesList(value=encoded))
