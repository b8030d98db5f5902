"""tfrec_llm: from text about users and items to a servable two-tower recommender.

    import tfrec_llm as tr

    data = tr.read_tables(items="items.csv", interactions="clicks.csv")
    recommender = tr.train(data, encoder="all_minilm_l6_v2_en")
    recommender.recommend(text="space opera", history=["dune"], k=5)
    recommender.export("exports/books")

Importing this package loads nothing else: each public name is fetched when it is first used.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tfrec_llm.data.tables import read_tables
    from tfrec_llm.errors import (
        CheckpointError,
        ConfigError,
        CorruptFileError,
        DataError,
        EncoderError,
        ExportError,
        ImportOrderError,
        InputError,
        MissingPackageError,
        TfrecLlmError,
        UsageError,
    )
    from tfrec_llm.serving.loaded import load
    from tfrec_llm.workflows.api import Recommender, train

__version__ = "0.1.0"

__all__ = [
    "CheckpointError",
    "ConfigError",
    "CorruptFileError",
    "DataError",
    "EncoderError",
    "ExportError",
    "ImportOrderError",
    "InputError",
    "MissingPackageError",
    "Recommender",
    "TfrecLlmError",
    "UsageError",
    "load",
    "read_tables",
    "train",
]

_HOMES = {
    "Recommender": "tfrec_llm.workflows.api",
    "load": "tfrec_llm.serving.loaded",
    "read_tables": "tfrec_llm.data.tables",
    "train": "tfrec_llm.workflows.api",
}


def __getattr__(name: str) -> Any:
    """Fetches a public name on its first use."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(importlib.import_module(_HOMES.get(name, "tfrec_llm.errors")), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
