"""The machine as this process sees it: processor, memory, disk; all read from Linux's files."""

from __future__ import annotations

import os
import platform
import shutil
from pathlib import Path
from typing import Any

CPU_FLAGS = ("avx", "avx2", "fma", "avx512f", "avx512_bf16", "amx_bf16")


def processor(cpuinfo: Path = Path("/proc/cpuinfo")) -> dict[str, Any]:
    """Returns `machine`, `model`, `cores` (those this process may use) and `flags` of the CPU.

    Args:
        cpuinfo: where Linux tells about the processor.
    """
    fields: dict[str, str] = {}
    if cpuinfo.is_file():
        for line in cpuinfo.read_text(errors="replace").splitlines():
            name, _, value = line.partition(":")
            fields.setdefault(name.strip(), value.strip())
    present = set(fields.get("flags", "").split())
    return {
        "machine": platform.machine(),
        "model": fields.get("model name"),
        "cores": len(os.sched_getaffinity(0)),
        "flags": {flag: flag in present for flag in CPU_FLAGS},
    }


def memory(
    meminfo: Path = Path("/proc/meminfo"), cgroup: Path = Path("/sys/fs/cgroup")
) -> dict[str, int | None]:
    """Returns `total_bytes` and `available_bytes`, a container's limit counted in.

    Args:
        meminfo: where Linux tells about memory.
        cgroup: folder of the limits of a container.
    """
    kibibytes: dict[str, int] = {}
    if meminfo.is_file():
        for line in meminfo.read_text().splitlines():
            name, _, value = line.partition(":")
            kibibytes[name] = int(value.split()[0])
    total = kibibytes["MemTotal"] * 1024 if "MemTotal" in kibibytes else None
    available = kibibytes["MemAvailable"] * 1024 if "MemAvailable" in kibibytes else None
    limit, used = _number_in(cgroup / "memory.max"), _number_in(cgroup / "memory.current")
    if limit is not None and total is not None and available is not None:
        total = min(total, limit)
        available = min(available, max(limit - (used or 0), 0))
    return {"total_bytes": total, "available_bytes": available}


def disk(folder: Path) -> dict[str, Any]:
    """Returns `folder`, `free_bytes` there and whether this process may write there.

    Args:
        folder: need not exist yet; then its nearest parent is looked at.
    """
    there = folder.absolute()
    while not there.exists():
        there = there.parent
    return {
        "folder": str(folder),
        "free_bytes": shutil.disk_usage(there).free,
        "writable": there.is_dir() and os.access(there, os.W_OK | os.X_OK),
    }


def _number_in(path: Path) -> int | None:
    try:
        text = path.read_text().strip()
    except OSError:
        return None
    return int(text) if text.isdigit() else None  # "max": no limit
