"""The versions of a model: which are loaded, which one answers, and what comes next."""

from __future__ import annotations

import asyncio
import contextlib
import enum
import gc
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from tfrec_llm.errors import RequestError, TfrecLlmError, UsageError
from tfrec_llm.progress import Progress, Silent
from tfrec_llm.serving.requirements_file import REQUIRES_FILE
from tfrec_llm.serving.server.loaded_version import LoadedVersion
from tfrec_llm.serving.versions import version_folder, versions


class State(enum.IntEnum):
    """Where a version stands; names and numbers are those of `ModelVersionStatus`."""

    START = 10
    LOADING = 20
    AVAILABLE = 30
    UNLOADING = 40
    END = 50


@dataclass(frozen=True)
class Status:
    """What can be said of a version.

    Attributes:
        state: State.
        error: why it could not be loaded, "" if nothing is wrong.
    """

    state: State
    error: str = ""


class ModelVersions:
    """Loads the newest version of an export and those with a label, and keeps up with the folder.

    Its methods belong to one event loop; loading runs in a thread beside it.

    Args:
        export: folder of versions, or of one version, which then stays the only one.
        name: the model's name.
        labels: version by label, such as `{"stable": 3}`; these are loaded too.
        progress: is told what is loaded, unloaded, or broken.
        on_change: called whenever a state changes.

    Raises: UsageError when there is no export, or no version for a label.
    """

    def __init__(
        self,
        export: str | Path,
        name: str,
        labels: Mapping[str, int] | None = None,
        progress: Progress | None = None,
        on_change: Callable[[Mapping[int, Status]], None] = lambda statuses: None,
    ) -> None:
        self.name = name
        self._export = Path(export)
        self._labels = dict(labels or {})
        self._progress = progress or Silent()
        self._on_change = on_change
        self._only = version_folder(export) if is_one_version(export) else None
        self._loaded: dict[int, LoadedVersion] = {}
        self._statuses: dict[int, Status] = {}
        self._broken: dict[int, tuple[int, ...]] = {}
        self._said_empty = False
        self._loader = ThreadPoolExecutor(1, "load")
        there = self._on_disk()
        for label, number in self._labels.items():
            if number not in there:
                raise UsageError(
                    f"The label {label!r} is for version {number}, but {self._export} holds "
                    f"{', '.join(map(str, sorted(there))) or 'no version'}."
                )

    @property
    def labels(self) -> dict[str, int]:
        """Returns the version by label."""
        return dict(self._labels)

    async def start(self) -> None:
        """Loads what shall be served; an error of the first loading is raised.

        Raises: TfrecLlmError when a version cannot be loaded.
        """
        for number in self._wanted(self._on_disk()):
            await self._load(number, raises=True)

    async def poll(self) -> None:
        """Looks at the folder once: loads what is new, then unloads what is no longer wanted.

        A version that cannot be loaded is told of, and tried again when its folder changes.
        """
        there = self._on_disk()
        if not there:
            if not self._said_empty:
                self._said_empty = True
                self._progress.message(
                    f"{self._export} holds no version any more; version {max(self._loaded)} "
                    "stays loaded."
                )
            return
        self._said_empty = False
        good = {n: f for n, f in there.items() if self._broken.get(n) != _stamp(f)}
        wanted = self._wanted(good)
        for number in wanted:
            if number not in self._loaded:
                await self._load(number)
        if any(number not in self._loaded for number in wanted):
            return  # what serves now goes on serving
        for number in sorted(set(self._loaded) - set(wanted)):
            await self._unload(number)

    @contextlib.contextmanager
    def hold(
        self, name: str, number: int | None = None, label: str | None = None
    ) -> Iterator[LoadedVersion]:
        """Gives a loaded version, which is not unloaded before it is let go.

        Args:
            name: of the model.
            number: int, the version; None for the newest.
            label: instead of a number.

        Raises: RequestError when it is not served.
        """
        version = self._find(name, number, label)
        version.users += 1
        try:
            yield version
        finally:
            version.users -= 1

    def statuses(
        self, name: str, number: int | None = None, label: str | None = None
    ) -> dict[int, Status]:
        """Returns the status by version, newest first, or of one version alone.

        Raises: RequestError when there is no such model or version.
        """
        if name != self.name:
            raise RequestError(f"Could not find any versions of model {name}", "NOT_FOUND")
        if label:
            number = self._labelled(label)
        if number is None:
            return dict(sorted(self._statuses.items(), reverse=True))
        if number not in self._statuses:
            raise RequestError(f"Could not find version {number} of model {name}", "NOT_FOUND")
        return {number: self._statuses[number]}

    def close(self) -> None:
        """Ends the thread that loads."""
        self._loader.shutdown(cancel_futures=True)

    def _find(self, name: str, number: int | None, label: str | None) -> LoadedVersion:
        if label:
            number = self._labelled(label)
        if name == self.name and number is None and self._loaded:
            return self._loaded[max(self._loaded)]
        if name != self.name or number not in self._loaded:
            which = f"Latest({name})" if number is None else f"Specific({name}, {number})"
            raise RequestError(f"Servable not found for request: {which}", "NOT_FOUND")
        return self._loaded[number]

    def _labelled(self, label: str) -> int:
        if label not in self._labels:
            raise RequestError(f"Unrecognized servable version label: {label}")
        return self._labels[label]

    def _on_disk(self) -> dict[int, Path]:
        if self._only is not None:
            return {int(self._only.name) if self._only.name.isdecimal() else 1: self._only}
        return {number: self._export / str(number) for number in versions(self._export)}

    def _wanted(self, there: Mapping[int, Path]) -> list[int]:
        newest = [max(there)] if there else [max(self._loaded)]
        return sorted({*newest, *self._labels.values()})

    async def _load(self, number: int, raises: bool = False) -> None:
        folder = self._on_disk().get(number)
        if folder is None:
            return
        stamp = _stamp(folder)
        self._set(number, Status(State.LOADING))
        loop = asyncio.get_running_loop()
        try:
            version = await loop.run_in_executor(self._loader, LoadedVersion.load, folder, number)
        except Exception as error:
            if raises:
                raise
            self._broken[number] = stamp
            text = str(error) if isinstance(error, TfrecLlmError) else repr(error)
            self._set(number, Status(State.END, text))
            stays = ", ".join(map(str, sorted(self._loaded)))
            self._progress.message(
                f"Version {number} cannot be loaded; version {stays} goes on serving. {text}"
            )
            return
        self._broken.pop(number, None)
        self._loaded[number] = version
        self._set(number, Status(State.AVAILABLE))
        self._progress.message(f"Version {number} of {self.name} is served.")

    async def _unload(self, number: int) -> None:
        version = self._loaded.pop(number)  # no new request gets it
        self._set(number, Status(State.UNLOADING))
        while version.users:
            await asyncio.sleep(0.01)
        del version
        await asyncio.get_running_loop().run_in_executor(self._loader, gc.collect)
        self._set(number, Status(State.END))
        self._progress.message(f"Version {number} of {self.name} was unloaded.")

    def _set(self, number: int, status: Status) -> None:
        self._statuses[number] = status
        self._on_change(self._statuses)


def is_one_version(export: str | Path) -> bool:
    """Returns whether a folder is a SavedModel itself, and not one of versions."""
    return (Path(export) / "saved_model.pb").is_file()


def _stamp(folder: Path) -> tuple[int, ...]:
    """Returns numbers that change when a version is written anew."""
    with contextlib.suppress(OSError):
        files = (folder, folder / REQUIRES_FILE, folder / "saved_model.pb")
        return tuple(path.stat().st_mtime_ns for path in files if path.exists())
    return ()
