"""How long work tells where it stands, without knowing who listens."""

from __future__ import annotations

from typing import Protocol


class Progress(Protocol):
    """Receives news of long work; the command line shows it, tests and notebooks need not."""

    def message(self, text: str) -> None:
        """Takes one line for a person."""

    def advance(self, task: str, done: int, total: int, note: str = "") -> None:
        """Takes the state of a task: `done` of `total` steps, with a short note such as a rate."""


class Silent:
    """A listener that says nothing.

    Example:
        >>> Silent().advance("encode", 1, 2)
    """

    def message(self, text: str) -> None:
        """Ignores the line."""

    def advance(self, task: str, done: int, total: int, note: str = "") -> None:
        """Ignores the state."""
