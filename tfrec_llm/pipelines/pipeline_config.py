"""A run's configuration on its way through a pipeline: JSON in, JSON out."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from tfrec_llm.config.load import config_from
from tfrec_llm.config.run_config import RunConfig


def config_to_text(config: RunConfig) -> str:
    """Writes a configuration as JSON, its tables as handed over in memory.

    Where the tables come from is the business of the pipeline; the names of columns stay.

    Args:
        config: what `load_config` returned, paths absolute.

    Example:
        >>> config = RunConfig(data={"source": "bookshop"}, train={"epochs": 3})
        >>> config_from_text(config_to_text(config)).data.source
        'memory'
    """
    tree = config.model_dump(mode="json")
    data = {"source": "memory", "folder": None, "items": None, "interactions": None, "users": None}
    tree["data"] = {**tree["data"], **data}
    return json.dumps(tree, sort_keys=True)


def config_from_text(text: str, changes: Mapping[str, Any] | None = None) -> RunConfig:
    """Reads what `config_to_text` wrote.

    Args:
        text: JSON.
        changes: dotted key → value, set on top.

    Raises: ConfigError when there is no such key, or a value is not allowed.

    Example:
        >>> text = config_to_text(RunConfig(data={"source": "bookshop"}))
        >>> config_from_text(text, {"train.epochs": 3}).train.epochs
        3
    """
    tree = json.loads(text)
    for key, value in (changes or {}).items():
        section, _, name = key.rpartition(".")
        if section not in tree:
            section, name = "", key  # told as an unknown key below
        (tree[section] if section else tree)[name] = value
    return config_from(tree, "the configuration of the pipeline")
