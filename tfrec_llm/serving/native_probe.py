"""Builds and runs the C++ program that loads an export without Python.

    python -m tfrec_llm.serving.native_probe

builds it, as `make probe` does, and prints where it lies.
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path

import tfrec_llm
from tfrec_llm.errors import ExportError, UsageError
from tfrec_llm.files import atomic_file
from tfrec_llm.keras_api import tf
from tfrec_llm.serving.op_libraries import library_files

SOURCE = Path(tfrec_llm.__file__).resolve().parents[1] / "export" / "probe" / "probe.cc"
_MISSING_OP = re.compile(r"Op type not registered '([^']+)'")
_TIMEOUT_SECONDS = 1800


def reason_not_to_build() -> str | None:
    """Returns why the probe can be had neither built nor ready here, or None.

    Its source comes with the repository, not with the installed package.
    """
    if not SOURCE.is_file():
        return f"the source of the probe is not at {SOURCE}; it comes with the repository"
    if not _built_file().is_file() and compiler() is None:
        return "there is no C++ compiler: install g++, or set CXX to one"
    return None


def compiler() -> str | None:
    """Returns the path of the C++ compiler: that of CXX, else g++ or clang++; None without."""
    names = [os.environ["CXX"]] if os.environ.get("CXX") else ["g++", "clang++"]
    return next(filter(None, map(shutil.which, names)), None)


def build_probe() -> Path:
    """Builds the probe against the installed TensorFlow, once for each of its versions.

    Returns: the program.

    Raises:
        UsageError: when there is no source or no compiler.
        ExportError: when the compiler fails.
    """
    reason = reason_not_to_build()
    if reason:
        raise UsageError(f"The native probe cannot be built: {reason}.")
    built = _built_file()
    if built.is_file():
        return built
    folder = tf.sysconfig.get_lib()
    with atomic_file(built) as program:
        command = [
            *(str(compiler()), "-O1", *tf.sysconfig.get_compile_flags(), str(SOURCE)),
            *("-o", str(program), *tf.sysconfig.get_link_flags(), "-l:libtensorflow_cc.so.2"),
            f"-Wl,-rpath,{folder}",
        ]
        result = subprocess.run(command, capture_output=True, text=True, check=False)
        if result.returncode:
            raise ExportError(
                f"{command[0]} cannot build {SOURCE} against the TensorFlow in {folder}. It said: "
                f"{_end(result.stderr)}"
            )
    return built


def ask_probe(
    version_folder: Path, libraries: Iterable[str], text: str, history: Sequence[str]
) -> list[str]:
    """Asks `serving_default` of an export for one user, in a process without Python.

    Args:
        version_folder: folder of the SavedModel.
        libraries: op libraries to load first, by the names of `op_libraries`.
        text: str, anything about the user; may be empty.
        history: ids of items, oldest first.

    Returns: ids, best first; "" where no item is left.

    Raises:
        UsageError: when the probe cannot be built here.
        ExportError: when the export cannot be loaded or asked; an op of a library that was not
            loaded is named.
    """
    files = [file for library in libraries for file in library_files(library)]
    command = [str(build_probe())]
    for file in files:
        command += ["--op-library", str(file)]
    for item_id in history:
        command += ["--history", item_id]
    result = subprocess.run(
        [*command, "--text", text, str(version_folder)],
        env={**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3", "CUDA_VISIBLE_DEVICES": "-1"},
        capture_output=True,
        timeout=_TIMEOUT_SECONDS,
        check=False,
    )
    if result.returncode:
        said = result.stderr.decode(errors="replace")
        missing = _MISSING_OP.search(said)
        if missing:
            raise ExportError(
                f"The op {missing[1]} is not registered: its library is not among those that were "
                f"loaded ({', '.join(libraries) or 'none'}). A server without it cannot serve this "
                "export."
            )
        raise ExportError(
            f"The native probe failed with exit code {result.returncode}. It said: {_end(said)}"
        )
    return [_unescaped(line) for line in result.stdout.decode().split("\n")[:-1]]


def _built_file() -> Path:
    """Returns where the program lies; named by what it is built of, so it is never an old one."""
    built_of = [tf.__version__, tf.sysconfig.get_lib(), SOURCE.read_text(encoding="utf-8")]
    digest = hashlib.sha256("\0".join(built_of).encode()).hexdigest()[:12]
    return SOURCE.parent / "build" / f"probe-tensorflow-{tf.__version__}-{digest}"


def _unescaped(line: str) -> str:
    return re.sub(r"\\(.)", lambda found: {"n": "\n", "r": "\r"}.get(found[1], found[1]), line)


def _end(text: str) -> str:
    return " ".join(text.split())[-500:]


if __name__ == "__main__":
    sys.stdout.write(f"{build_probe()}\n")
