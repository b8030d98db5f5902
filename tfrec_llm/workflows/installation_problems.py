"""Facts about an installation → what is wrong with it, and how to mend it."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from typing import Any

from packaging.requirements import Requirement
from packaging.version import Version

from tfrec_llm.encoders.presets import MINILM_INSTALL

# ScaNN's op library is built against one minor version of TensorFlow and crashes beside another.
SCANN_FOR_TENSORFLOW = {
    "2.16": ("1.3.2",),
    "2.17": ("1.3.4", "1.3.3"),
    "2.18": ("1.3.5",),
    "2.19": ("1.4.0",),
    "2.20": ("1.4.2", "1.4.1"),
}
_SMALLEST_DISK_BYTES = 10**9
_SMALLEST_MEMORY_BYTES = 2 * 10**9


def find_version_problems(
    packages: Sequence[Mapping[str, Any]], python: tuple[int, int] | None = None
) -> tuple[list[dict[str, str]], list[dict[str, str]]]:
    """Compares versions with what this package needs and with each other.

    Args:
        packages: as `installed_packages()` returns them.
        python: major and minor version. Defaults to those of this process.

    Returns: problems, and notes on extras that are not installed.

    Example:
        >>> scann = {"name": "scann", "required": "", "extra": "scann", "installed": "1.3.5"}
        >>> tensorflow = {**scann, "name": "tensorflow", "extra": None, "installed": "2.20.0"}
        >>> find_version_problems([scann, tensorflow])[0][0]["mend"]
        'pip install scann==1.4.2'
    """
    problems, notes = [], []
    python = python or sys.version_info[:2]
    if not (3, 10) <= python < (3, 13):
        problems.append(
            finding(
                f"Python {python[0]}.{python[1]} is not supported",
                "make an environment with Python 3.11 or 3.12",
            )
        )
    if not packages:
        problems.append(finding("tfrec_llm is not installed as a package", "pip install -e ."))
    for package in packages:
        name, installed = package["name"], package["installed"]
        wanted = name + package["required"]
        if installed is None and package["extra"]:
            notes.append(
                finding(
                    f"{name} is not installed (extra {package['extra']})",
                    f"pip install 'tfrec_llm[{package['extra']}]'",
                )
            )
        elif installed is None:
            problems.append(finding(f"{name} is not installed", f"pip install '{wanted}'"))
        elif not Requirement(wanted).specifier.contains(installed, prereleases=True):
            problems.append(
                finding(
                    f"{name} is {installed}, but tfrec_llm needs {package['required']}",
                    f"pip install '{wanted}'",
                )
            )
    versions = {package["name"]: package["installed"] for package in packages}
    return problems + _find_mismatches(versions), notes


def _find_mismatches(versions: Mapping[str, str | None]) -> list[dict[str, str]]:
    """Compares the packages that must move together with TensorFlow."""
    tensorflow = versions.get("tensorflow")
    if tensorflow is None:
        return []
    minor = _minor(tensorflow)
    problems = []
    for name in ("tf_keras", "tensorflow-text"):
        installed = versions.get(name)
        if installed is not None and _minor(installed) != minor:
            problems.append(
                finding(
                    f"{name} is {installed}, but TensorFlow is {tensorflow}: "
                    "their first two numbers must be equal",
                    f"pip install '{name}=={minor}.*'",
                )
            )
    scann = versions.get("scann")
    fitting = SCANN_FOR_TENSORFLOW.get(minor, ())
    if scann is not None and fitting and scann not in fitting:
        problems.append(
            finding(
                f"scann {scann} is not built against TensorFlow {tensorflow}",
                f"pip install scann=={fitting[0]}",
            )
        )
    return problems


def find_library_problems(
    libraries: Mapping[str, Mapping[str, Any]], versions: Mapping[str, str | None]
) -> list[dict[str, str]]:
    """Turns libraries that do not load into problems.

    Args:
        libraries: as `probe()` returns them.
        versions: installed version of each package, by its name.
    """
    names_of_error: dict[str, list[str]] = {}
    for name, found in libraries.items():
        if not found["loads"]:
            names_of_error.setdefault(str(found["error"]), []).append(name)
    return [
        finding(
            f"{', '.join(names)} {'does' if len(names) == 1 else 'do'} not load: {error}",
            _mend_of_load(names[0], error, versions),
        )
        for error, names in names_of_error.items()
    ]


def _mend_of_load(name: str, error: str, versions: Mapping[str, str | None]) -> str:
    tensorflow = versions.get("tensorflow") or "2.20.0"
    minor = _minor(tensorflow)
    if error.startswith("ImportOrderError"):
        return "unset KERAS_BACKEND, or set it to tensorflow"
    if error.startswith("EncoderError"):
        return MINILM_INSTALL
    if "GLIBC" in error:
        return "the wheel was built for a newer C library; use Debian 12, Ubuntu 22.04 or newer"
    if "SIGILL" in error:
        return "the processor lacks an instruction the wheel was built for; see the CPU flags"
    if "No module named" in error:
        return f"pip install {error.partition('No module named ')[2].strip(chr(39))}"
    if name == "scann":
        return (
            f"its op library fits one TensorFlow only; for {tensorflow}: "
            f"pip install scann=={SCANN_FOR_TENSORFLOW.get(minor, ('1.4.2',))[0]}; "
            "or do without it: --set index.kind=brute_force"
        )
    if name == "tensorflow_text":
        return (
            f"its op library fits one TensorFlow only; for {tensorflow}: "
            f"pip install 'tensorflow-text=={minor}.*'"
        )
    return "install the versions of requirements/ again, in a new environment"


def find_machine_problems(
    cpu: Mapping[str, Any], memory: Mapping[str, Any], cache: Mapping[str, Any]
) -> list[dict[str, str]]:
    """Names what of the machine stands in the way.

    Args:
        cpu: as `machine.processor()` returns it.
        memory: as `machine.memory()` returns it.
        cache: as `machine.disk()` returns it.
    """
    problems = []
    if cpu["machine"] in ("x86_64", "AMD64") and not cpu["flags"]["avx2"]:
        problems.append(
            finding(
                "the processor has no AVX2, which the TensorFlow and ScaNN wheels are built for",
                "use another machine; in a virtual one, pass the host's CPU through",
            )
        )
    available = memory["available_bytes"]
    if available is not None and available < _SMALLEST_MEMORY_BYTES:
        problems.append(
            finding(
                f"only {available / 1e9:.1f} GB of memory are free",
                "end other programs, or use a larger machine",
            )
        )
    if not cache["writable"]:
        problems.append(
            finding(
                f"the cache folder {cache['folder']} cannot be written",
                "set TFREC_LLM_CACHE to a folder that can",
            )
        )
    elif cache["free_bytes"] < _SMALLEST_DISK_BYTES:
        problems.append(
            finding(
                f"only {cache['free_bytes'] / 1e9:.1f} GB are free at the cache, {cache['folder']}",
                "make room, or set TFREC_LLM_CACHE to a folder on a larger disk",
            )
        )
    return problems


def _minor(version: str) -> str:
    return ".".join(map(str, Version(version).release[:2]))


def finding(what: str, mend: str) -> dict[str, str]:
    """Returns one finding: what is wrong and what to do."""
    return {"what": what, "mend": mend}
