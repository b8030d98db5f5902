"""An export → a development server with TensorFlow Serving's API."""

from __future__ import annotations

import importlib.util
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tfrec_llm.errors import MissingPackageError, UsageError
from tfrec_llm.progress import Progress
from tfrec_llm.serving.versions import version_folder

if TYPE_CHECKING:
    from tfrec_llm.serving.server.service import Service

_PACKAGES = {
    "starlette": "starlette",
    "uvicorn": "uvicorn",
    "prometheus_client": "prometheus-client",
    "grpc": "grpcio",
    "tensorflow_serving": "tensorflow-serving-api",
}


def serve(
    export: str | Path,
    *,
    name: str | None = None,
    labels: Sequence[str] = (),
    progress: Progress | None = None,
    **settings: Any,
) -> tuple[Service, dict[str, Any]]:
    """Loads an export and begins to answer over REST and gRPC; `Service.run` goes on with it.

    Args:
        export: folder of versions, or of one version.
        name: of the model in addresses. Defaults to the name of the folder.
        labels: `LABEL=VERSION` each.
        progress: listener.
        settings: see `tfrec_llm.serving.server.service.Settings`.

    Returns: the service, and what it serves where: `model`, `version`, `rest`, `grpc`.

    Raises:
        UsageError: when the export, a label or a port is wrong.
        MissingPackageError: when the packages of the extra `serve` are not installed.
        TfrecLlmError: when the model cannot be loaded.
    """
    folder = version_folder(export)  # told before anything long is done
    name = name or (Path(export) if folder != Path(export) else folder.parent).resolve().name
    if not name or set(name) & set("/:"):
        raise UsageError(f"The model cannot be named {name!r}: no '/' or ':' may be in a name.")
    versions = dict(_label(text) for text in labels)
    for module, package in _PACKAGES.items():
        if importlib.util.find_spec(module) is None:
            raise MissingPackageError(package, "The development server", "serve")
    from tfrec_llm.serving.server.service import Service, Settings

    service = Service(export, name, Settings(labels=versions, **settings), progress)
    return service, service.start()


def _label(text: str) -> tuple[str, int]:
    label, _, version = text.partition("=")
    if not label or not version.isdecimal() or set(label) & set("/:"):
        raise UsageError(f"--label {text!r} is not LABEL=VERSION, such as stable=3.")
    return label, int(version)
