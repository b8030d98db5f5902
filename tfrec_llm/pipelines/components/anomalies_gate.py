"""TFX component: stops a pipeline at data that is not as the schema says."""

# No `from __future__ import annotations`: TFX reads the annotations as objects.
import logging
from pathlib import Path

import tfrec_llm.pipelines.tfx_ready  # noqa: F401 - before TFX
import tensorflow_data_validation as tfdv
from tensorflow_metadata.proto.v0 import anomalies_pb2
from tfrec_llm.errors import DataError
from tfrec_llm.files import atomic_file
from tfx import v1 as tfx
from tfx.types import artifact_utils
from tfx.utils import io_utils

REPORT, BASELINE = "anomalies.txt", "statistics.binarypb"


@tfx.dsl.components.component
def AnomaliesGate(  # noqa: N802 - the name of the component
    anomalies: tfx.dsl.components.InputArtifact[tfx.types.standard_artifacts.ExampleAnomalies],
    statistics: tfx.dsl.components.InputArtifact[tfx.types.standard_artifacts.ExampleStatistics],
    schema: tfx.dsl.components.InputArtifact[tfx.types.standard_artifacts.Schema],
    passed: tfx.dsl.components.OutputArtifact[tfx.types.standard_artifacts.ExampleAnomalies],
    table: tfx.dsl.components.Parameter[str] = "examples",
    baseline_statistics: tfx.dsl.components.Parameter[str] = "",
) -> None:
    """Fails, with every anomaly named, where ExampleValidator found one or the data drifted.

    ExampleValidator writes anomalies down and goes on. It does not look at drift comparators
    either, as it knows no earlier statistics; these come from a file here.

    Args:
        anomalies: what ExampleValidator found.
        statistics: of the data.
        schema: may hold drift comparators.
        passed: gets `anomalies.txt`.
        table: the table that is named in messages.
        baseline_statistics: file of the statistics that data is compared with by the drift
            comparators; "" for none. It is never written: copy `statistics.binarypb` of a run
            that was good from the artifact `passed`.

    Raises: DataError with the anomalies.
    """
    found = {}
    for split in artifact_utils.decode_split_names(anomalies.split_names):
        path = Path(artifact_utils.get_split_uri([anomalies], split)) / "SchemaDiff.pb"
        written = anomalies_pb2.Anomalies()
        written.ParseFromString(path.read_bytes())
        found |= _lines(written, split)
    for split in artifact_utils.decode_split_names(statistics.split_names):
        path = Path(artifact_utils.get_split_uri([statistics], split)) / "FeatureStats.pb"
        of_now = tfdv.load_stats_binary(str(path))
        if baseline_statistics:
            if not Path(baseline_statistics).is_file():
                raise DataError(
                    f"There are no statistics {baseline_statistics} to compare the table "
                    f"`{table}` with. Name the {BASELINE} of an earlier run, or none."
                )
            before = tfdv.load_stats_binary(baseline_statistics)
            wanted = tfdv.load_schema_text(io_utils.get_only_uri_in_dir(schema.uri))
            drifted = tfdv.validate_statistics(of_now, wanted, previous_statistics=before)
            found |= _lines(drifted, split)
        with atomic_file(Path(passed.uri) / BASELINE) as temporary:
            temporary.write_bytes(of_now.SerializeToString())
    passed.split_names = anomalies.split_names
    report = "\n".join(found.values())
    with atomic_file(Path(passed.uri) / REPORT) as temporary:
        temporary.write_text(report + "\n", encoding="utf-8")
    if found:
        raise DataError(
            f"The table `{table}` is not as its schema says, so nothing is trained on it: "
            f"{report} Mend the data, or the schema where the data is right."
        )
    logging.getLogger("tfrec_llm").info("table %s: no anomalies", table)


def _lines(anomalies: anomalies_pb2.Anomalies, split: str) -> dict[tuple[str, str], str]:
    """Returns (feature, kind) → a sentence for each anomaly."""
    lines = {}
    for name, info in anomalies.anomaly_info.items():
        for reason in info.reason or [info]:
            kind = getattr(reason, "type", 0)
            lines[(name, str(kind))] = (
                f"[{split}] `{name}`: {reason.short_description} ({reason.description.strip()})"
            )
    if anomalies.HasField("dataset_anomaly_info"):
        info = anomalies.dataset_anomaly_info
        lines[("", "dataset")] = f"[{split}] the whole table: {info.description.strip()}"
    if anomalies.data_missing:
        lines[("", "missing")] = f"[{split}] there are no examples at all."
    return lines
