"""TFX component: stops a pipeline at data that is not as the schema says."""

# No `from __future__ import annotations`: TFX reads the annotations as objects.
import logging
import os

from tfx import v1 as tfx
from tfx.types import artifact_utils
from tfx.utils import io_utils

from tfrec_llm.errors import DataError
from tfrec_llm.keras_api import tf
from tfrec_llm.pipelines.on_tfx.find_anomalies import anomalies_in_file, drift
from tfrec_llm.pipelines.remote_files import local_output

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
    found: list[str] = []
    for split in artifact_utils.decode_split_names(anomalies.split_names):
        folder = artifact_utils.get_split_uri([anomalies], split)
        found += anomalies_in_file(os.path.join(folder, "SchemaDiff.pb"))
    passed.split_names = anomalies.split_names
    with local_output(passed.uri) as written:
        for split in artifact_utils.decode_split_names(statistics.split_names):
            folder = artifact_utils.get_split_uri([statistics], split)
            file = os.path.join(folder, "FeatureStats.pb")
            if baseline_statistics:
                wanted = io_utils.get_only_uri_in_dir(schema.uri)
                found += drift(file, wanted, baseline_statistics)
            with tf.io.gfile.GFile(file, "rb") as source:
                (written / BASELINE).write_bytes(source.read())
        report = "\n".join(dict.fromkeys(found))  # what is no drift is found twice
        (written / REPORT).write_text(report + "\n", encoding="utf-8")
    if found:
        raise DataError(
            f"The table `{table}` is not as its schema says, so nothing is trained on it: "
            f"{report} Mend the data, or the schema where the data is right."
        )
    logging.getLogger("tfrec_llm").info("table %s: no anomalies", table)
