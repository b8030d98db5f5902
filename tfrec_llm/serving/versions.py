"""The integer versions of an export folder."""

from __future__ import annotations

import os
import re
import shutil
from pathlib import Path

from tfrec_llm.errors import UsageError

_LEFTOVER = re.compile(r"\.\d+\..*\.tmp")  # as `atomic_folder` names a version that it writes


def versions(out: Path) -> list[int]:
    """Returns the versions in a folder, oldest first.

    Args:
        out: the folder of versions; may be missing.

    Example:
        >>> versions(Path("/no/such/folder"))
        []
    """
    if not out.is_dir():
        return []
    names = [path.name for path in out.iterdir() if path.is_dir()]
    return sorted(int(name) for name in names if name.isascii() and name.isdigit())


def next_version(out: Path) -> int:
    """Returns one more than the newest version of a folder, 1 for the first."""
    return max(versions(out), default=0) + 1


def version_folder(export: str | Path) -> Path:
    """Finds the folder of a SavedModel: the given one, or the newest version in it.

    Args:
        export: folder of versions, or of one version.

    Raises: UsageError when there is none.
    """
    export = Path(export)
    if not export.exists():
        raise UsageError(f"There is no export {export}. Write one with `tfrec-llm export`.")
    if (export / "saved_model.pb").is_file():
        return export
    found = versions(export)
    if not found:
        raise UsageError(
            f"{export} holds no version of an export: no folder 1, 2, … with a saved_model.pb. "
            "Give the folder that `tfrec-llm export --out` wrote."
        )
    return export / str(found[-1])


def remove_leftovers(out: Path) -> list[str]:
    """Removes what a process that was killed left of a version that it wrote or removed.

    Only for who holds the lock of the folder: what another process writes looks the same.

    Args:
        out: the folder of versions; may be missing.

    Returns: names of the folders that were removed.

    Example:
        >>> import tempfile
        >>> out = Path(tempfile.mkdtemp())
        >>> for name in ("1", ".2.x7f.tmp", "notes"):
        ...     (out / name).mkdir()
        >>> remove_leftovers(out), versions(out)
        (['.2.x7f.tmp'], [1])
    """
    if not out.is_dir():
        return []
    found = sorted(path for path in out.iterdir() if _LEFTOVER.fullmatch(path.name))
    for path in found:
        shutil.rmtree(path)
    return [path.name for path in found]


def keep_newest(out: Path, version: int, count: int) -> list[int]:
    """Removes older versions until `count` are left, the given one and what is newer never.

    Each goes by one rename first, so that a server never sees a part of one. Folders that hold no
    SavedModel are left alone. Only for who holds the lock of the folder.

    Args:
        out: the folder of versions.
        version: int, a version of it; only older ones are removed.
        count: int >= 1, how many versions up to this one stay, itself included.

    Returns: the versions that were removed, oldest first.

    Raises: UsageError when `count` is below 1.
    """
    if count < 1:
        raise UsageError(f"`keep` must be at least 1, the new version itself, got {count}.")
    older = [n for n in versions(out) if n < version and (out / f"{n}/saved_model.pb").is_file()]
    removed = older[: max(0, len(older) - (count - 1))]
    for number in removed:
        aside = out / f".{number}.removed.tmp"
        os.replace(out / str(number), aside)
        shutil.rmtree(aside)
    return removed
