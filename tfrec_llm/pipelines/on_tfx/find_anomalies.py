"""What TFDV has against data, as sentences."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import tensorflow_data_validation as tfdv
from tensorflow_metadata.proto.v0 import anomalies_pb2

from tfrec_llm.errors import DataError
from tfrec_llm.keras_api import tf


def anomalies_in_file(path: str | Path) -> list[str]:
    """Returns the anomalies that ExampleValidator wrote down.

    Args:
        path: its `SchemaDiff.pb`.
    """
    written = anomalies_pb2.Anomalies()
    with tf.io.gfile.GFile(str(path), "rb") as file:
        written.ParseFromString(file.read())
    return _sentences(written)


def drift(statistics: str | Path, schema: str | Path, baseline: str | Path) -> list[str]:
    """Returns how statistics moved, by the drift comparators of a schema.

    Args:
        statistics: file of the statistics of now, binary.
        schema: the schema, text.
        baseline: file of the statistics to compare with, binary.

    Returns: sentences; anything else that is not as the schema says is among them.

    Raises: DataError when there are no statistics to compare with.
    """
    if not tf.io.gfile.exists(str(baseline)):
        raise DataError(
            f"There are no statistics {baseline} to compare with. Name the statistics.binarypb of "
            "an earlier run, which AnomaliesGate writes, or none."
        )
    found = tfdv.validate_statistics(
        tfdv.load_stats_binary(str(statistics)),
        tfdv.load_schema_text(str(schema)),
        previous_statistics=tfdv.load_stats_binary(str(baseline)),
    )
    return _sentences(found)


def _sentences(anomalies: Any) -> list[str]:
    sentences = [
        f"`{name}`: {' '.join(info.description.split())}"
        for name, info in sorted(anomalies.anomaly_info.items())
    ]
    if anomalies.HasField("dataset_anomaly_info"):
        told = " ".join(anomalies.dataset_anomaly_info.description.split())
        sentences.append(f"the whole table: {told}")
    if anomalies.data_missing:
        sentences.append("there are no examples at all.")
    return sentences
