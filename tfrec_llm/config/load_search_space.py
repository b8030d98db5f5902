"""A search space as YAML, every key and value of it checked before anything is tried."""

from __future__ import annotations

import math
import os
from pathlib import Path
from typing import Any

from tfrec_llm.config.known_keys import describe, known_keys, nearest_key
from tfrec_llm.config.load import joined_faults, load_values
from tfrec_llm.config.run_config import RunConfig
from tfrec_llm.config.search_space import Choices, Range, SearchSpace, with_settings
from tfrec_llm.errors import ConfigError

_SECTIONS = ("text", "encoder", "towers", "model", "train")
_NOT_SEARCHED = ("train.seed", "train.refit", "encoder.cache_folder", "encoder.batch_size")
_PRESETS = ("encoder.preset", "encoder.preset_zh")
_RANGE_WORDS = {"low", "high", "log"}


def load_search_space(path: str | Path, config: RunConfig) -> SearchSpace:
    """Reads a search space from YAML and checks every key and value of it.

    The file maps keys of the configuration to a list of values or to a range, whose `log` is
    false unless it is set:

        train.learning_rate: {low: 1.0e-4, high: 1.0e-2, log: true}
        towers.history: [mean, transformer]

    Paths in it are relative to its folder.

    Args:
        path: the YAML file.
        config: the run whose settings are searched; each value is tried in its place.

    Returns: key → `Range` or `Choices`, in the order of the file.

    Raises: ConfigError with every fault: where, which key, what was got, what is allowed.

    Example:
        >>> import tempfile
        >>> file = Path(tempfile.mkdtemp()) / "space.yaml"
        >>> _ = file.write_text("towers.dropout: {low: 0.1, high: 0.5}")
        >>> print(load_search_space(file, RunConfig(data={"source": "bookshop"}))["towers.dropout"])
        0.1 to 0.5 (even)
    """
    path = Path(path)
    tree, origins = load_values(path)
    if not isinstance(tree, dict) or not tree:
        raise ConfigError(
            f"{path}: the file holds no search space. It must hold keys of the configuration with "
            "a list of values or a range, for example "
            "`train.learning_rate: {low: 1.0e-4, high: 1.0e-2, log: true}`."
        )
    folder = Path(os.path.abspath(path)).parent
    faults: list[str] = []
    space: SearchSpace = {}
    for key, written in tree.items():
        try:
            _check_key(key, written)
            space[key] = _read(key, _with_absolute_paths(key, written, folder))
            _check_values(key, space[key], config)
        except ValueError as error:
            faults.append(f"{origins[(key,)]}: {key}: {error}")
    if faults:
        raise ConfigError(joined_faults(str(path), faults))
    return space


def _check_key(key: str, written: Any) -> None:
    """Raises ValueError unless the key is one whose values validation can compare."""
    path = tuple(key.split("."))
    schema = known_keys().get(path)
    if schema is None:
        nearest = ".".join(nearest_key(path, written))
        raise ValueError(f"there is no such key; the nearest known key is {nearest}.")
    if "properties" in schema:
        raise ValueError(
            f"this is a section. Name its keys with a dot: {key}.{next(iter(schema['properties']))}"
        )
    if path[0] not in _SECTIONS or key in _NOT_SEARCHED:
        raise ValueError(
            "it cannot be searched: it changes what is measured, or nothing that validation "
            f"measures. Keys of {', '.join(_SECTIONS)} can be, but {', '.join(_NOT_SEARCHED)}."
        )


def _read(key: str, written: Any) -> Range | Choices:
    """Returns the range or list that was written, or raises ValueError."""
    if isinstance(written, list):
        if not written:
            raise ValueError("the list is empty. Name the values to try.")
        for number, value in enumerate(written):
            if isinstance(value, (list, dict)):
                raise ValueError(f"{value!r} is a list or mapping. Name single values.")
            if any(value == other for other in written[:number]):
                raise ValueError(f"{value!r} stands twice. Keep one.")
        return Choices(tuple(written))
    if not isinstance(written, dict):
        raise ValueError(
            f"got {written!r}; allowed: a list of values, [{written}, …], or a range, "
            "{low: …, high: …, log: true}."
        )
    if not {"low", "high"} <= set(written) <= _RANGE_WORDS:
        raise ValueError(
            f"a range has low, high and, if wanted, log; got {', '.join(written) or 'nothing'}."
        )
    schema = known_keys()[tuple(key.split("."))]
    kinds = {option.get("type") for option in schema.get("anyOf", [schema])}
    if not kinds & {"integer", "number"}:
        raise ValueError(f"a range is for numbers; the key takes {describe(schema)}. Give a list.")
    low, high, log = written["low"], written["high"], written.get("log", False)
    for word, value in (("low", low), ("high", high)):
        if not _is_number(value):
            raise ValueError(f"{word}: got {value!r}; allowed: a number.")
    if not isinstance(log, bool):
        raise ValueError(f"log: got {log!r}; allowed: true or false.")
    if not low < high:
        raise ValueError(f"low is {low} and high is {high}; low must be below high.")
    if log and low <= 0:
        raise ValueError(f"low is {low}; with log: true it must be above 0.")
    return Range(low, high, log, whole="integer" in kinds)


def _is_number(value: Any) -> bool:
    is_real = isinstance(value, (int, float)) and not isinstance(value, bool)
    return is_real and math.isfinite(value)


def _check_values(key: str, choice: Range | Choices, config: RunConfig) -> None:
    """Raises ValueError unless the configuration takes each value, the others as they are."""
    values = (choice.low, choice.high) if isinstance(choice, Range) else choice.values
    for value in values:
        try:
            with_settings(config, {key: value}, "")
        except ConfigError as error:
            fault = str(error).removeprefix(": ").removeprefix(f"{key}: ")
            raise ValueError(fault) from error


def _with_absolute_paths(key: str, written: Any, folder: Path) -> Any:
    """Returns the values of a key that takes a path with the paths made absolute."""
    schema = known_keys()[tuple(key.split("."))]

    def absolute(value: Any) -> Any:
        is_path = isinstance(value, str) and (
            ("/" in value or (folder / value).is_dir())
            if key in _PRESETS
            else "path" in describe(schema).split()
        )
        return str(folder / Path(value).expanduser()) if is_path and "://" not in value else value

    return [absolute(value) for value in written] if isinstance(written, list) else written
