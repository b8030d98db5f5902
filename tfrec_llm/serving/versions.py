"""The integer versions of an export folder."""

from __future__ import annotations

from pathlib import Path

from tfrec_llm.errors import UsageError


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
