"""Texts → windows of token ids, none of them longer than the model reads."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from tfrec_llm.keras_api import tf
from tfrec_llm.text.preprocessor import TextPreprocessor

_TEXTS_AT_A_TIME = 1024
_UNLIMITED = 1 << 30


def token_windows(tokenizer: Any, texts: Sequence[str], max_tokens: int) -> list[np.ndarray]:
    """Tokenises texts; a text that is too long becomes several windows, so none of it is lost.

    Args:
        tokenizer: keras-nlp tokenizer with start and end tokens.
        texts: str each.
        max_tokens: int ≥ 3, of a window, start and end included.

    Returns: int32 `(tokens,)` each, in the order of the texts; texts without a token give none.

    Example:
        >>> from tfrec_llm.keras_api import keras_nlp
        >>> words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "a", "b", "c"]
        >>> tokenizer = keras_nlp.models.BertTokenizer(words)
        >>> [window.tolist() for window in token_windows(tokenizer, ["a b c", ""], max_tokens=4)]
        [[2, 5, 6, 3], [2, 7, 3]]
    """
    preprocessor = TextPreprocessor(tokenizer, _UNLIMITED)
    width = max_tokens - 2
    windows = []
    for first in range(0, len(texts), _TEXTS_AT_A_TIME):
        block = texts[first : first + _TEXTS_AT_A_TIME]
        encoded = tf.constant([text.encode("utf-8", "replace") for text in block], tf.string)
        for start, *inner, end in preprocessor.token_ids(encoded).to_list():
            windows += [
                np.array([start, *inner[place : place + width], end], np.int32)
                for place in range(0, len(inner), width)
            ]
    return windows
