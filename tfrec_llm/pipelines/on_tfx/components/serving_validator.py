"""TFX component: finds out in a fresh process whether an export can be served."""

# No `from __future__ import annotations`: TFX reads the annotations as objects.
import json
import logging
import subprocess
import sys

from tfx import v1 as tfx
from tfx.utils import path_utils

from tfrec_llm.pipelines.remote_files import local_input, local_output

REPORT = "check.json"
BLESSED, NOT_BLESSED = "INFRA_BLESSED", "INFRA_NOT_BLESSED"


@tfx.dsl.components.component
def ServingValidator(  # noqa: N802 - the name of the component
    model: tfx.dsl.components.InputArtifact[tfx.types.standard_artifacts.Model],
    blessing: tfx.dsl.components.OutputArtifact[tfx.types.standard_artifacts.InfraBlessing],
    server: tfx.dsl.components.Parameter[str] = "any",
) -> None:
    """Runs `tfrec-llm check` on the export, as InfraValidator would ask a server in a container.

    Args:
        model: the new model.
        blessing: gets INFRA_BLESSED or INFRA_NOT_BLESSED, and `check.json`.
        server: which one must be able to serve it: `stock`, `with_scann`, or `any`.
    """
    export = path_utils.serving_model_path(model.uri)
    with local_input(export) as folder:
        done = subprocess.run(
            [sys.executable, "-m", "tfrec_llm", "check", str(folder), "--json"],
            capture_output=True,
            text=True,
            encoding="utf-8",
        )
    try:
        report = json.loads(done.stdout)
    except ValueError:
        report = {"ok": False, "deployable": {}, "checks": [], "error": done.stderr[-4000:]}
    is_blessed = bool(report["ok"] if server == "any" else report["deployable"].get(server))
    with local_output(blessing.uri) as folder:
        (folder / REPORT).write_text(json.dumps(report, indent=1), encoding="utf-8")
        (folder / (BLESSED if is_blessed else NOT_BLESSED)).touch()
    blessing.set_int_custom_property("blessed", int(is_blessed))
    if is_blessed:
        logging.getLogger("tfrec_llm").info("export %s can be served", export)
    else:
        faults = [
            f"{entry['name']}: {entry['detail']}"
            for entry in report["checks"]
            if entry["ok"] is False
        ]
        logging.getLogger("tfrec_llm").warning(
            "export %s cannot be served (%s): %s",
            export,
            server,
            "; ".join(faults) or report.get("error") or "no such server has all its ops",
        )
