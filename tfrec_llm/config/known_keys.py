"""What a configuration may hold, in words: its keys, their values, and the nearest to a slip."""

from __future__ import annotations

import difflib
import functools
from collections.abc import Iterator
from typing import Any

from tfrec_llm.config.run_config import RunConfig

Key = tuple[str, ...]


@functools.cache
def known_keys() -> dict[Key, dict[str, Any]]:
    """Returns the JSON schema of every section and every key, by its path.

    Example:
        >>> describe(known_keys()["text", "max_tokens"])
        'a whole number, at least 4 and at most 512'
    """
    root = RunConfig.model_json_schema()

    def walk(schema: dict[str, Any], prefix: Key) -> Iterator[tuple[Key, dict[str, Any]]]:
        for name, value in schema["properties"].items():
            if "$ref" in value:
                value = {**root["$defs"][value["$ref"].rpartition("/")[2]], **value}
            yield (*prefix, name), value
            if "properties" in value:
                yield from walk(value, (*prefix, name))

    return dict(walk(root, ()))


def describe(schema: dict[str, Any]) -> str:
    """Returns in words which values a schema allows.

    Args:
        schema: a value of `known_keys()`, or a part of one.
    """
    if "properties" in schema:
        return "a section with the keys " + ", ".join(schema["properties"])
    if "anyOf" in schema:
        return " or ".join(describe(option) for option in schema["anyOf"])
    if "enum" in schema:
        return " | ".join(map(str, schema["enum"]))
    if "const" in schema:
        return f"only {schema['const']}"
    kind = schema.get("type")
    if kind == "array":
        return f"a list, each {describe(schema.get('items', {}))}"
    if kind in ("integer", "number"):
        bounds = [
            f"{words} {schema[word]:g}"
            for word, words in (
                ("minimum", "at least"),
                ("exclusiveMinimum", "above"),
                ("maximum", "at most"),
                ("exclusiveMaximum", "below"),
            )
            if word in schema
        ]
        name = "a whole number" if kind == "integer" else "a number"
        return name + (", " + " and ".join(bounds) if bounds else "")
    if schema.get("format") == "path":
        return "a path"
    words = {"string": "text", "boolean": "true or false", "null": "null"}
    return words.get(str(kind), "anything")


def nearest_key(key: Key, value: Any) -> Key:
    """Returns the known key that an unknown one was most likely meant to be.

    Args:
        key: the path of the unknown key.
        value: what it was set to; a section is nearer to a section.

    Example:
        >>> nearest_key(("train", "batchsize"), 32), nearest_key(("lr",), 0.1)
        (('train', 'batch_size'), ('train', 'learning_rate'))
    """

    def likeness(known: Key) -> float:
        ours, theirs = _plain(key[-1]), _plain(known[-1])
        score = difflib.SequenceMatcher(None, ours, theirs).ratio()
        if ours == "".join(word[:1] for word in known[-1].split("_")):
            score = max(score, 0.9)
        is_section = "properties" in known_keys()[known]
        return (
            score
            + 0.15 * (key[:-1] == known[:-1])
            + 0.1 * (isinstance(value, dict) == is_section)
            + 0.01 * (known[0] == "train")  # `learning_rate` alone is hardly that of the encoder
        )

    return max(known_keys(), key=likeness)


def nearest_value(schema: dict[str, Any], value: Any) -> str | None:
    """Returns the allowed word nearest to `value`, None if there is none near.

    Example:
        >>> nearest_value(known_keys()["towers", "history"], "transfomer")
        'transformer'
    """
    words = {_plain(word): word for word in schema.get("enum", []) if isinstance(word, str)}
    if not isinstance(value, str):
        return None
    found = difflib.get_close_matches(_plain(value), words, n=1)
    return words[found[0]] if found else None


def _plain(name: str) -> str:
    return name.lower().replace("-", "").replace("_", "")
