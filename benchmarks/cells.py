"""Cells of a benchmark: each one a run, trained and measured once, kept as one JSON file.

A benchmark that was killed goes on with the cells that are missing; the one that was in work is
resumed from its last epoch. A cell that fails is told at the end and tried again the next time.
"""

from __future__ import annotations

import json
import multiprocessing
import shutil
import sys
import time
import traceback
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from cell import Cell
from measure_cell import measure

from tfrec_llm.errors import TfrecLlmError, UsageError
from tfrec_llm.files import atomic_file
from tfrec_llm.progress import Progress


def run_cells(
    cells: Sequence[Cell],
    out: Path,
    *,
    progress: Progress | None = None,
    keep_runs: bool = False,
    apart: bool = False,
    say: Callable[[str], None] = lambda text: print(text, file=sys.stderr, flush=True),
) -> dict[str, str]:
    """Measures what is not measured yet.

    Args:
        cells: what to measure.
        out: folder of the results, `NAME.json` each; made if missing.
        progress: listener of each run.
        keep_runs: whether run folders stay; each holds a copy of its language model.
        apart: whether each cell is measured in a process of its own, so that its peak memory is
            its own too; then nobody listens to the run.
        say: told of each cell.

    Returns: name → error of each cell that failed; it did not stop the others.
    """
    failed: dict[str, str] = {}
    for number, cell in enumerate(cells, start=1):
        where = f"[{number}/{len(cells)}] {cell.name}"
        try:
            if read_cell(cell, out) is not None:
                continue
            say(f"{where} …")
            begin = time.monotonic()
            result = _measure_apart(cell, out) if apart else measure(cell, out, progress)
            result["seconds"] = round(time.monotonic() - begin, 1)
            with atomic_file(out / f"{cell.name}.json") as temporary:
                written = json.dumps(result, separators=(",", ":"))
                temporary.write_text(written + "\n", encoding="utf-8")
            if not keep_runs:
                shutil.rmtree(out / "runs" / cell.name, ignore_errors=True)
            figure = result["metrics"]["all"].get("ndcg@10", float("nan"))
            say(f"{where}: NDCG@10 {figure:.4f}, {result['seconds']} s")
        except Exception as error:  # one cell must not stop the others; it is told at the end
            failed[cell.name] = f"{type(error).__name__}: {error}"
            detail = "" if isinstance(error, TfrecLlmError) else "\n" + traceback.format_exc()
            say(f"{where} FAILED: {failed[cell.name]}{detail}")
    return failed


def read_cell(cell: Cell, out: Path) -> dict[str, Any] | None:
    """Returns the result of a cell, None where there is none yet.

    Raises: UsageError when it was measured with other settings.
    """
    path = out / f"{cell.name}.json"
    if not path.is_file():
        return None
    result: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    as_measured = (_settings(result["overrides"]), result["model"])
    if as_measured != (_settings(cell.overrides), cell.model):
        raise UsageError(
            f"{path} was measured with other settings ({' '.join(result['overrides'])}; now "
            f"{' '.join(cell.overrides)}). Delete it, or give another --out folder."
        )
    return result


def _settings(overrides: Sequence[str]) -> dict[str, str]:
    """Returns key → value as they count: in whatever order keys come, the last value of each."""
    return dict(override.split("=", 1) for override in overrides)


def chosen(cells: Sequence[Cell], patterns: Sequence[str]) -> list[Cell]:
    """Returns the cells whose name matches one of the patterns (`*`, `?`), or holds one as it is.

    Raises: UsageError for a pattern that no cell matches.
    """
    if not patterns:
        return list(cells)
    for pattern in patterns:
        if not any(_matches(cell, pattern) for cell in cells):
            raise UsageError(f"--only {pattern}: no cell has such a name; --list shows them all")
    return [cell for cell in cells if any(_matches(cell, pattern) for pattern in patterns)]


def _matches(cell: Cell, pattern: str) -> bool:
    return fnmatchcase(cell.name, pattern) or pattern in cell.name


def _measure_apart(cell: Cell, out: Path) -> dict[str, Any]:
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(max_workers=1, mp_context=context) as pool:
        return pool.submit(measure, cell, out, None).result()


def exit_with(failed: dict[str, str]) -> int:
    """Tells what failed, at the end where it is seen; returns the exit code."""
    for name, error in failed.items():
        print(f"FAILED {name}: {error}", file=sys.stderr)
    return int(bool(failed))
