"""Texts made ready for a language model, in the TensorFlow graph.

    from tfrec_llm.text import clean_text

Importing this package loads no TensorFlow: each public name is fetched when it is first used.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tfrec_llm.text.cleaning import CLEANING_LEVELS, clean_text
    from tfrec_llm.text.preprocessor import TextPreprocessor
    from tfrec_llm.text.stop_words import load_stop_words

__all__ = ["CLEANING_LEVELS", "TextPreprocessor", "clean_text", "load_stop_words"]

_HOMES = {
    "CLEANING_LEVELS": "tfrec_llm.text.cleaning",
    "TextPreprocessor": "tfrec_llm.text.preprocessor",
    "clean_text": "tfrec_llm.text.cleaning",
    "load_stop_words": "tfrec_llm.text.stop_words",
}


def __getattr__(name: str) -> Any:
    """Fetches a public name on its first use."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(importlib.import_module(_HOMES[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
