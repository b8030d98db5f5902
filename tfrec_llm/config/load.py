"""YAML and `--set` overrides → RunConfig, with all faults in one message; and back to YAML."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

from tfrec_llm.config.known_keys import describe, known_keys, nearest_key, nearest_value
from tfrec_llm.config.run_config import RunConfig
from tfrec_llm.errors import ConfigError

Key = tuple[str, ...]

_MOST_NODES = 10_000
_TIMESTAMP = "tag:yaml.org,2002:timestamp"  # read as the text it is
_TAGS = {
    f"tag:yaml.org,2002:{name}"
    for name in ("null", "bool", "int", "float", "str", "timestamp", "seq", "map")
}
# PyYAML takes 1e-3 for text, since YAML 1.1 wanted a dot and a sign. People mean the number.
_EXPONENT = re.compile(r"^[-+]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)[eE][-+]?[0-9]+$")


def load_config(path: str | Path, overrides: Sequence[str] = ()) -> RunConfig:
    """Reads a run from a YAML file, changed by overrides, and checks all of it.

    Relative paths in the file are relative to the file's folder; relative paths in an override
    are relative to the current folder, as everything else typed into a shell. `~` is the home
    folder in both. `encoder.preset` is a path if it holds a `/` or a folder of its name is there.

    Args:
        path: the YAML file.
        overrides: texts `section.key=value`; the value is read as YAML, so `null`, `[5, 10]`
            and `{item_id: isbn}` work. A later one wins over an earlier one and over the file.

    Returns: the whole run, defaults filled in, paths absolute.

    Raises: ConfigError with every fault of file and overrides: where, which key, the value
        that was got, what is allowed.

    Example:
        >>> import pathlib, tempfile
        >>> path = pathlib.Path(tempfile.mkdtemp()) / "run.yaml"
        >>> _ = path.write_text("data: {source: bookshop}")
        >>> load_config(path, ["train.epochs=3", "evaluate.ks=[5, 10]"]).train.epochs
        3
    """
    path = Path(path)
    faults: list[str] = []
    origins: dict[Key, str] = {}
    tree, is_readable = _read_file(path, origins, faults)
    folder = Path(os.path.abspath(path)).parent
    tree = _with_absolute_paths(tree, folder, origins, faults)
    for text in overrides:
        _apply_override(tree, text, origins, faults)
    config = _validate(tree, str(path), origins, faults) if is_readable else None
    if config is None or faults:
        raise ConfigError(joined_faults(str(path), faults))
    return config


def config_from(tree: Mapping[str, Any], name: str = "config") -> RunConfig:
    """Checks a configuration made of Python values, as `load_config` checks a file.

    Args:
        tree: section → key → value.
        name: what the tree is called in messages.

    Returns: the whole run, defaults filled in.

    Raises: ConfigError with every fault.

    Example:
        >>> config_from({"data": {"source": "bookshop"}, "train": {"epochs": 3}}).train.epochs
        3
    """
    faults: list[str] = []
    config = _validate(dict(tree), name, {}, faults)
    if config is None:
        raise ConfigError(joined_faults(name, faults))
    return config


def load_values(path: str | Path) -> tuple[Any, dict[Key, str]]:
    """Reads a YAML file of plain values, by the rules of `load_config`, which it does not check.

    Args:
        path: the YAML file.

    Returns: what the file holds, None if that is nothing; and where each key in it stands.

    Raises: ConfigError when the file cannot be read or is no plain YAML.

    Example:
        >>> import pathlib, tempfile
        >>> path = pathlib.Path(tempfile.mkdtemp()) / "space.yaml"
        >>> _ = path.write_text("train.learning_rate: {low: 1e-4, high: 1e-2}")
        >>> load_values(path)[0]
        {'train.learning_rate': {'low': 0.0001, 'high': 0.01}}
    """
    faults: list[str] = []
    origins: dict[Key, str] = {}
    values = _read_values(Path(path), origins, faults)
    if faults:
        raise ConfigError(joined_faults(str(path), faults))
    return values, origins


def dump_config(config: RunConfig) -> str:
    """Returns a configuration as YAML, every key written out.

    `load_config` reads the same configuration back from it; relative paths, which only a
    configuration built in Python can hold, then mean the folder of the file.

    Args:
        config: the run.

    Example:
        >>> print(dump_config(RunConfig(data={"source": "bookshop"})).splitlines()[1])
          source: bookshop
    """
    tree = config.model_dump(mode="json")
    return str(yaml.dump(tree, Dumper=_Dumper, sort_keys=False, allow_unicode=True))


class _Loader(yaml.SafeLoader):
    """YAML whose numbers may be written 1e-3."""


class _Dumper(yaml.SafeDumper):
    """Quotes what `_Loader` and any YAML 1.1 reader would not read as text; uses no anchors."""

    def ignore_aliases(self, data: Any) -> bool:
        return True


for _class in (_Loader, _Dumper):
    _class.add_implicit_resolver("tag:yaml.org,2002:float", _EXPONENT, list("-+.0123456789"))


def _read_file(
    path: Path, origins: dict[Key, str], faults: list[str]
) -> tuple[dict[str, Any], bool]:
    """Returns the tree of the file and True; ({}, False) and a fault if it cannot be read."""
    tree = _read_values(path, origins, faults)
    if tree is None and not faults:
        faults.append(
            f"{path}: the file is empty. It needs at least where the data is, for example "
            "`data: {items: items.csv, interactions: clicks.csv}`."
        )
    elif tree is not None and not isinstance(tree, dict):
        faults.append(
            f"{path}: the file holds {_shown(tree)}. It must hold sections: "
            + ", ".join(key[0] for key in known_keys() if len(key) == 1)
            + "."
        )
    return (tree, True) if isinstance(tree, dict) else ({}, False)


def _read_values(path: Path, origins: dict[Key, str], faults: list[str]) -> Any:
    """Returns what the YAML file holds; None and a fault if it cannot be read."""
    try:
        content = path.read_bytes()
    except OSError as error:
        reason = "there is no such file" if isinstance(error, FileNotFoundError) else error.strerror
        faults.append(f"{path}: cannot read the configuration: {reason}.")
        return None
    try:
        text = content.decode("utf-8")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        column = error.start - content.rfind(b"\n", 0, error.start)
        faults.append(
            f"{path}, line {line}, column {column}: byte 0x{content[error.start]:02x} is not "
            "UTF-8. Save the file as UTF-8."
        )
        return None
    return _parse(text, str(path), origins, faults)


def _parse(text: str, where: str, origins: dict[Key, str], faults: list[str]) -> Any:
    """Returns plain Python values of a YAML text; broken or odd YAML becomes a fault."""
    counted = 0

    def build(node: yaml.Node, key: Key) -> Any:
        nonlocal counted
        counted += 1
        if counted > _MOST_NODES:
            raise RecursionError
        line = f"{where}, line {node.start_mark.line + 1}"
        if node.tag not in _TAGS:
            faults.append(f"{line}: {_dotted(key)}: the YAML tag {node.tag} is not read here.")
            return None
        if isinstance(node, yaml.SequenceNode):
            return [build(child, key) for child in node.value]
        if isinstance(node, yaml.MappingNode):
            return build_mapping(node, key)
        if node.tag == _TIMESTAMP:
            return node.value
        try:
            return loader.construct_object(node)
        except (ValueError, KeyError):  # such as `!!int many`
            faults.append(f"{line}: {_dotted(key)}: {node.value[:80]!r} is not a {node.tag}.")
            return None

    def build_mapping(node: yaml.MappingNode, key: Key) -> dict[str, Any]:
        values: dict[str, Any] = {}
        lines: dict[str, int] = {}
        for name_node, value_node in node.value:
            number = name_node.start_mark.line + 1
            if not isinstance(name_node, yaml.ScalarNode):
                faults.append(f"{where}, line {number}: {_dotted(key)}: a key must be a word.")
                continue
            name = name_node.value
            if name in values:
                faults.append(
                    f"{where}, line {number}: {_dotted((*key, name))}: the key stands here and in "
                    f"line {lines[name]}. Keep one of the two."
                )
                continue
            lines[name] = number
            if where != "--set":
                origins[(*key, name)] = f"{where}, line {number}"
            values[name] = build(value_node, (*key, name))
        return values

    try:
        loader = _Loader(text)
        node = loader.get_single_node()
        return None if node is None else build(node, ())
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        place = f", line {mark.line + 1}, column {mark.column + 1}" if mark else ""
        faults.append(f"{where}{place}: this is not YAML: {error.problem or error.context}.")
    except yaml.YAMLError as error:  # a character that YAML forbids
        line_number = text.count("\n", 0, getattr(error, "position", 0)) + 1
        reason = getattr(error, "reason", str(error))
        faults.append(f"{where}, line {line_number}: this is not YAML: {reason}.")
    except RecursionError:
        faults.append(f"{where}: the YAML is too large or nested too deeply for a configuration.")
    return None


def _apply_override(
    tree: dict[str, Any], text: str, origins: dict[Key, str], faults: list[str]
) -> None:
    """Puts one `section.key=value` into the tree."""
    dotted, equals, value_text = text.partition("=")
    key = tuple(part.strip() for part in dotted.split("."))
    if not equals or not all(key):
        faults.append(
            f"--set {text}: expected section.key=value, for example --set train.epochs=3."
        )
        return
    problems: list[str] = []
    value = _parse(value_text, "--set", {}, problems)
    if problems:
        faults.extend(f"--set {text}: {problem.partition(': ')[2]}" for problem in problems)
        return
    fragment: Any = value
    for name in reversed(key):
        fragment = {name: fragment}
    fragment = _with_absolute_paths(fragment, Path.cwd(), {key: f"--set {text}"}, faults)
    section = tree
    for depth, name in enumerate(key[:-1]):
        if section.get(name) is None:
            section[name] = {}
            origins.setdefault(key[: depth + 1], f"--set {text}")
        if not isinstance(section[name], dict):
            faults.append(
                f"--set {text}: {_dotted(key[: depth + 1])} holds {_shown(section[name])}, which "
                "is not a section, so nothing in it can be set."
            )
            return
        section, fragment = section[name], fragment[name]
    section[key[-1]] = fragment[key[-1]]
    for known in [known for known in origins if known[: len(key)] == key]:
        del origins[known]
    origins[key] = f"--set {text}"


def _with_absolute_paths(
    tree: dict[str, Any], folder: Path, origins: dict[Key, str], faults: list[str]
) -> dict[str, Any]:
    """Returns the tree with every path in it made absolute, from `folder`."""
    schemas = known_keys()

    def absolute(value: Any, key: Key) -> Any:
        if isinstance(value, dict):
            return {name: absolute(child, (*key, name)) for name, child in value.items()}
        if not isinstance(value, str) or key not in schemas:
            return value
        if key in (("encoder", "preset"), ("encoder", "preset_zh")):
            is_path = "://" not in value and ("/" in value or os.path.isdir(folder / value))
        else:
            is_path = "path" in describe(schemas[key])
        if not is_path:
            return value
        if not value.strip() or "\0" in value:
            faults.append(
                f"{_origin(key, origins)}: {_dotted(key)}: got {_shown(value)}; "
                f"allowed: {describe(schemas[key])}."
            )
            return value
        try:
            return str(folder / Path(value).expanduser())
        except RuntimeError:  # ~nobody
            return str(folder / value)

    return {name: absolute(child, (name,)) for name, child in tree.items()}


def _validate(
    tree: dict[str, Any], name: str, origins: dict[Key, str], faults: list[str]
) -> RunConfig | None:
    """Returns the checked configuration, or None and its faults."""
    schemas = known_keys()

    def filled(value: Any, key: Key) -> Any:  # `train:` with all its keys commented out
        if value is None and "properties" in schemas.get(key, {}):
            return {}
        if isinstance(value, dict):
            return {child: filled(value[child], (*key, child)) for child in value}
        return value

    try:
        # Strict JSON: paths may be text, but "10" and true are no numbers.
        return RunConfig.model_validate_json(json.dumps(filled(tree, ()), default=str), strict=True)
    except ValidationError as error:
        for detail in error.errors(include_url=False):
            key = tuple(part for part in detail["loc"] if isinstance(part, str))
            where = _origin(key, origins, name)
            faults.append(f"{where}: {_dotted(detail['loc'])}: {_fault(key, dict(detail))}.")
    return None


def joined_faults(name: str, faults: Sequence[str]) -> str:
    """Returns one fault as it is, several as a list under the name of what has them."""
    if len(faults) == 1:
        return faults[0]
    return f"{name} has {len(faults)} faults:\n" + "\n".join(f"- {fault}" for fault in faults)


def _fault(key: Key, detail: dict[str, Any]) -> str:
    """Says in words what pydantic found: the value, and what is allowed instead."""
    schema = known_keys().get(key, {})
    if detail["type"] == "extra_forbidden":
        return (
            f"got {_shown(detail['input'])}; there is no such key; the nearest known key is "
            f"{_dotted(nearest_key(key, detail['input']))}"
        )
    if detail["type"] == "missing":
        return f"missing; it must be {describe(schema)}"
    if detail["type"] == "value_error":
        return str(detail["ctx"]["error"])
    hint = nearest_value(schema, detail["input"])
    allowed = describe(schema) + (f" (did you mean {hint}?)" if hint else "")
    return f"got {_shown(detail['input'])}; allowed: {allowed}"


def _origin(key: Key, origins: dict[Key, str], otherwise: str = "") -> str:
    """Returns where a key was written; for a key that was not, where its section was."""
    for length in range(len(key), 0, -1):
        if key[:length] in origins:
            return origins[key[:length]]
    return otherwise


def _dotted(key: Sequence[str | int]) -> str:
    parts = [f"[{part}]" if isinstance(part, int) else f".{part}" for part in key]
    return "".join(parts).lstrip(".") or "the whole file"


def _shown(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 80 else text[:77] + "..."
