"""Arrays ↔ JSON: how requests and answers travel between two processes."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from typing import Any

import numpy as np

Request = tuple[str, Mapping[str, Any]]
"""A signature and its inputs: nested lists of str, bytes or int, or an int."""


def to_json(value: Any) -> Any:
    """Returns an array, or nested lists, of strings or numbers as plain JSON values.

    Args:
        value: str, bytes or number; an array or nested lists of them.

    Returns: nested lists; a string becomes `{"b64": …}`, as any bytes may be in it.

    Example:
        >>> to_json([["a"], [1.5]])
        [[{'b64': 'YQ=='}], [1.5]]
    """
    if isinstance(value, np.ndarray | np.generic):
        value = value.tolist()
    if isinstance(value, list | tuple):
        return [to_json(part) for part in value]
    if isinstance(value, str):
        value = value.encode()
    return {"b64": base64.b64encode(value).decode()} if isinstance(value, bytes) else value


def from_json(value: Any) -> Any:
    """Returns what `to_json` was given, as nested lists with bytes for strings.

    Example:
        >>> from_json(to_json(["a", 1]))
        [b'a', 1]
    """
    if isinstance(value, list):
        return [from_json(part) for part in value]
    return base64.b64decode(value["b64"]) if isinstance(value, dict) else value
