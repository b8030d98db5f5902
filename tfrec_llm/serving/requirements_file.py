"""requires.json: what a machine needs to serve an export, and what the files should hold."""

from __future__ import annotations

import json
import platform
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tfrec_llm.errors import CorruptFileError, UsageError
from tfrec_llm.files import sha256_of_file
from tfrec_llm.serving.stock_serving_ops import is_in_stock_serving

REQUIRES_FILE = "requires.json"

# As the projects state for their x86 wheels; other processors need a build of their own.
_X86_FLAGS = {"tensorflow": ["avx"], "scann": ["avx", "fma"]}


def requirements(
    version_folder: Path, tensorflow_version: str, custom_ops: Sequence[dict[str, Any]]
) -> dict[str, Any]:
    """Returns the contents of `requires.json` for a folder whose other files are all written.

    Args:
        version_folder: folder of the SavedModel.
        tensorflow_version: version of the TensorFlow that wrote it.
        custom_ops: ops that TensorFlow does not have: dicts of `op`, `library`, `version`.
    """
    libraries = {entry["library"] for entry in custom_ops}
    is_x86 = platform.machine() in ("x86_64", "AMD64")
    flags = [_X86_FLAGS.get(name, []) for name in ("tensorflow", *libraries)] if is_x86 else []
    files = sorted(path for path in version_folder.rglob("*") if path.is_file())
    return {
        "format": 1,
        "tensorflow": tensorflow_version,
        "custom_ops": list(custom_ops),
        "stock_tensorflow_serving": all(
            is_in_stock_serving(entry["op"], tensorflow_version) for entry in custom_ops
        ),
        "machine": platform.machine(),
        "cpu_flags": sorted({flag for group in flags for flag in group}),
        "sha256": {
            path.relative_to(version_folder).as_posix(): sha256_of_file(path)
            for path in files
            if path.name != REQUIRES_FILE
        },
    }


def read_requirements(version_folder: Path) -> dict[str, Any]:
    """Reads `requires.json` of an export.

    Args:
        version_folder: folder of the SavedModel.

    Raises:
        UsageError: when there is no such file.
        CorruptFileError: when it is not what this package writes.
    """
    path = version_folder / REQUIRES_FILE
    try:
        contents = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise UsageError(
            f"{version_folder} holds no {REQUIRES_FILE}: it is not an export of tfrec_llm. Give "
            "the folder that `tfrec-llm export --out` wrote, or one of its versions."
        ) from None
    except (ValueError, UnicodeDecodeError) as error:
        raise CorruptFileError(f"{path} is no valid JSON ({error}). Export again.") from error
    if not isinstance(contents, dict) or not _is_complete(contents):
        raise CorruptFileError(f"{path} lacks entries that every export has. Export again.")
    return contents


@dataclass(frozen=True)
class FileFaults:
    """How the files of an export differ from what was noted when it was written.

    Attributes:
        missing: names of files that are not there.
        changed: names of files that hold something else.
        extra: names of files that were not written with it.
    """

    missing: list[str]
    changed: list[str]
    extra: list[str]


def file_faults(version_folder: Path, requires: dict[str, Any]) -> FileFaults:
    """Compares every file of an export with the sha256 that was noted when it was written.

    Args:
        version_folder: folder of the SavedModel.
        requires: what `read_requirements` returned.
    """
    noted = requires["sha256"]
    missing = [name for name in noted if not (version_folder / name).is_file()]
    changed = [
        name
        for name, digest in noted.items()
        if name not in missing and sha256_of_file(version_folder / name) != digest
    ]
    present = {
        path.relative_to(version_folder).as_posix()
        for path in version_folder.rglob("*")
        if path.is_file()
    }
    return FileFaults(missing, changed, sorted(present - {*noted, REQUIRES_FILE}))


def verify_files(version_folder: Path, requires: dict[str, Any]) -> None:
    """Refuses an export whose files are not those that were written.

    Args:
        version_folder: folder of the SavedModel.
        requires: what `read_requirements` returned.

    Raises: CorruptFileError that names the files that are missing or changed.
    """
    found = file_faults(version_folder, requires)
    if found.missing or found.changed:
        faults = [f"{name} is missing" for name in found.missing]
        faults += [f"{name} was changed or cut" for name in found.changed]
        raise CorruptFileError(
            f"The export {version_folder} is not as it was written: {', '.join(faults)}. Copy it "
            "again from where it came, or export the model again."
        )


def _is_complete(contents: dict[str, Any]) -> bool:
    kinds = {"sha256": dict, "custom_ops": list, "tensorflow": str}
    return all(isinstance(contents.get(name), kind) for name, kind in kinds.items())
