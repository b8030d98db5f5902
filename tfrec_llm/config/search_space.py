"""Which settings a search may try: a range or a list of values for keys of the configuration."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from tfrec_llm.config.load import config_from
from tfrec_llm.config.run_config import RunConfig

Scalar = bool | int | float | str | None


@dataclass(frozen=True)
class Range:
    """Numbers from `low` to `high`, both included.

    Attributes:
        low: int or float.
        high: int or float, above `low`.
        log: bool, whether every power of ten gets the same attention.
        whole: bool, whether only whole numbers are meant.
    """

    low: float
    high: float
    log: bool = False
    whole: bool = False

    def holds(self, value: Scalar) -> bool:
        """Tells whether the value is one of them."""
        return (
            isinstance(value, int if self.whole else (int, float))
            and not isinstance(value, bool)
            and self.low <= value <= self.high
        )

    def __str__(self) -> str:
        kind = ("whole, " if self.whole else "") + ("log" if self.log else "even")
        return f"{self.low:g} to {self.high:g} ({kind})"


@dataclass(frozen=True)
class Choices:
    """One of some values."""

    values: tuple[Scalar, ...]

    def holds(self, value: Scalar) -> bool:
        """Tells whether the value is one of them."""
        return value in self.values

    def __str__(self) -> str:
        return ", ".join("null" if value is None else str(value) for value in self.values)


SearchSpace = dict[str, Range | Choices]


def default_search_space(config: RunConfig) -> SearchSpace:
    """Returns the search space of those who name none: what matters most, around good practice.

    Keys that have no effect in this run are left out. What the run has now lies in the space.

    Example:
        >>> print(default_search_space(RunConfig(data={"source": "bookshop"}))["train.batch_size"])
        null, 32, 64, 128, 256, 512
    """
    space: SearchSpace = {
        "train.learning_rate": Range(0.0005, 0.02, log=True),
        "train.weight_decay": Range(0.001, 0.3, log=True),
        "towers.item_id_dropout": Range(0.0, 0.7),
        "towers.item_id_rate": Range(1.0, 32.0, log=True),
        "towers.dropout": Range(0.0, 0.6),
        "train.temperature": Range(0.03, 0.3, log=True),
        "train.uniform_negatives": Range(256, 8192, log=True, whole=True),
        "towers.history": Choices(("mean", "attention", "gru", "transformer")),
        "towers.embedding_dim": Choices((64, 128, 256)),
        "towers.text_start_share": Choices((None, 0.0, 0.4, 0.8)),
        "train.batch_size": Choices((None, 32, 64, 128, 256, 512)),
    }
    idle: set[str] = set()
    if config.model.kind == "matrix_factorisation":
        idle |= {"towers.history", "towers.text_start_share", "towers.item_id_rate"}
        if config.model.loss != "softmax":
            idle |= {"train.temperature", "train.uniform_negatives"}
    if config.encoder.kind == "none":
        idle |= {"towers.item_id_dropout", "towers.text_start_share"}
    if config.towers.start == "random":
        idle.add("towers.text_start_share")
    if not config.towers.item_ids:
        idle |= {"towers.item_id_dropout", "towers.item_id_rate"}
    if config.train.start_from is not None:  # its widths and its user tower are taken over
        idle |= {"towers.history", "towers.embedding_dim"}
    return {
        key: _reaching(choice, setting(config, key))
        for key, choice in space.items()
        if key not in idle
    }


def setting(config: RunConfig, key: str) -> Any:
    """Returns what a configuration has under a dotted key; a path as text.

    Example:
        >>> setting(RunConfig(data={"source": "bookshop"}), "train.epochs")
        10
    """
    value = functools.reduce(getattr, key.split("."), config)
    return str(value) if isinstance(value, Path) else value


def with_settings(config: RunConfig, settings: Mapping[str, Any], name: str) -> RunConfig:
    """Returns a configuration with some keys changed, checked whole.

    Args:
        config: the run.
        settings: dotted key → value.
        name: what the result is called in messages.

    Raises: ConfigError when the values do not go together.

    Example:
        >>> run = RunConfig(data={"source": "bookshop"})
        >>> with_settings(run, {"train.epochs": 3}, "trial 1").train.epochs
        3
    """
    tree = config.model_dump(mode="json")
    for key, value in settings.items():
        section, _, word = key.rpartition(".")
        tree[section][word] = value
    return config_from(tree, name)


def plain(space: SearchSpace) -> dict[str, Any]:
    """Returns a search space as JSON values.

    Example:
        >>> plain({"towers.history": Choices(("mean", "gru"))})
        {'towers.history': {'values': ['mean', 'gru']}}
    """
    plain_space = {key: asdict(choice) for key, choice in space.items()}
    return {
        key: {word: list(v) if isinstance(v, tuple) else v for word, v in choice.items()}
        for key, choice in plain_space.items()
    }


def _reaching(choice: Range | Choices, value: Any) -> Range | Choices:
    """Returns the choice, made wide enough to hold the value."""
    if choice.holds(value):
        return choice
    if isinstance(choice, Choices):
        return Choices((*choice.values, value))
    if choice.log and value == 0:
        return Range(value, choice.high, log=False, whole=choice.whole)
    return Range(min(choice.low, value), max(choice.high, value), choice.log, choice.whole)
