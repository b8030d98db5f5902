"""What the commands say: results on stdout, progress and messages on stderr."""

from __future__ import annotations

import contextlib
import json
import logging
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from tfrec_llm.progress import Progress


def print_json(result: Mapping[str, Any]) -> None:
    """Writes one JSON object to stdout."""
    is_unicode = (sys.stdout.encoding or "").lower().replace("-", "") == "utf8"
    text = json.dumps(
        result, ensure_ascii=not is_unicode, allow_nan=False, indent=2, default=_plain
    )
    sys.stdout.write(text + "\n")


def print_lines(*lines: str) -> None:
    """Writes lines of a result to stdout."""
    sys.stdout.write("".join(f"{line}\n" for line in lines))


def print_items(items: list[dict[str, Any]]) -> None:
    """Writes recommended items to stdout, one a line: rank, score, id and, after a tab, title."""
    width = max((len(str(item["item_id"])) for item in items), default=0)
    print_lines(
        *(
            f"{rank:>3}  {item['score']:.4f}  {item['item_id']:<{width}}\t{item['title']}".rstrip()
            for rank, item in enumerate(items, start=1)
        )
    )


def print_summary(summary: Mapping[str, Any]) -> None:
    """Writes what a verb did to stdout, one `name: value` a line; parts of parts get a dot.

    Example:
        >>> print_summary({"run": Path("runs/a"), "recall": {"@10": 0.25, "@20": None}})
        run: runs/a
        recall.@10: 0.2500
    """
    for name, value in summary.items():
        if isinstance(value, Mapping):
            print_summary({f"{name}.{part}": inner for part, inner in value.items()})
        elif isinstance(value, float):
            print_lines(f"{name}: {value:.4f}")
        elif value is not None:
            print_lines(f"{name}: {value}")


def print_rich(renderable: Any) -> None:
    """Writes a table or styled text to stdout; plain and never cut where that is no terminal."""
    from rich.console import Console

    Console(width=None if sys.stdout.isatty() else 200).print(renderable)


@contextlib.contextmanager
def working() -> Iterator[Progress]:
    """Yields the listener of long work: live bars on a terminal, else a line now and then.

    Whatever libraries print to stdout meanwhile goes to stderr, so that a result stays alone.
    """
    _quiet_libraries()
    with contextlib.redirect_stdout(sys.stderr):
        if sys.stderr.isatty():
            with LiveBars() as bars:
                yield bars
        else:
            yield SparseLines()


class SparseLines:
    """Progress for a log file: messages, and each task's state at every tenth of it.

    Example:
        >>> with contextlib.redirect_stderr(sys.stdout):
        ...     lines = SparseLines()
        ...     for done in range(1, 21):
        ...         lines.advance("encode", done, 20, "9 texts/s")
        ... # doctest: +ELLIPSIS
        encode: 1 of 20 (9 texts/s)
        encode: 2 of 20 (9 texts/s)
        encode: 4 of 20 (9 texts/s)
        ...
        encode: 20 of 20 (9 texts/s)
    """

    def __init__(self) -> None:
        self._tenths: dict[str, int] = {}

    def message(self, text: str) -> None:
        """Writes the line."""
        print(text, file=sys.stderr, flush=True)

    def advance(self, task: str, done: int, total: int, note: str = "") -> None:
        """Writes the state if it reached another tenth since the last line."""
        tenth = done * 10 // max(total, 1)
        if self._tenths.get(task) != tenth:
            self._tenths[task] = tenth
            self.message(f"{task}: {done} of {total}" + (f" ({note})" if note else ""))


class LiveBars:
    """Progress for a terminal: a bar for each task, messages above the bars."""

    def __init__(self) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
        from rich.progress import Progress as RichProgress

        self._bars = RichProgress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeRemainingColumn(),
            TextColumn("{task.fields[note]}", markup=False),
            console=Console(stderr=True),
        )
        self._tasks: dict[str, Any] = {}

    def __enter__(self) -> LiveBars:
        self._bars.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._bars.stop()

    def message(self, text: str) -> None:
        """Writes the line above the bars."""
        self._bars.console.print(text, markup=False, highlight=False)

    def advance(self, task: str, done: int, total: int, note: str = "") -> None:
        """Moves the bar of the task; the first call makes it."""
        if task not in self._tasks:
            self._tasks[task] = self._bars.add_task(task, total=total, note=note)
        self._bars.update(self._tasks[task], completed=done, total=total, note=note)


def _quiet_libraries() -> None:
    """Keeps the chatter of TensorFlow's and absl's Python loggers; errors still show."""
    logging.getLogger("tensorflow").setLevel(logging.ERROR)
    with contextlib.suppress(ImportError):
        import absl.logging

        absl.logging.set_verbosity(absl.logging.ERROR)


def _plain(value: Any) -> Any:
    if isinstance(value, Path):
        return str(value)
    if hasattr(value, "tolist"):  # NumPy scalars and arrays
        return value.tolist()
    raise TypeError(f"{type(value).__name__} has no JSON form")
