"""Texts cut into pieces at a mark, and put together again."""

from __future__ import annotations

from typing import Any

from tfrec_llm.keras_api import tf


def split_at_marks(texts: Any) -> tuple[Any, Any]:
    """Cuts texts at each U+0001; every second piece is one that stood between two marks.

    Args:
        texts: string `(n,)`, with an even number of marks in each.

    Returns: the pieces, ragged string `(n, None)`, and bool `(number of pieces,)`: which of
        `pieces.flat_values` stood between marks.
    """
    pieces = tf.strings.split(texts, "\x01")
    between = tf.ragged.range(pieces.row_lengths()).flat_values % 2 == 1
    return pieces, between


def joined(pieces: Any, like: Any) -> Any:
    """Puts the pieces of each text together; the shape is that of `like`, string `(n,)`."""
    texts = tf.strings.unsorted_segment_join(
        pieces.flat_values, pieces.value_rowids(), tf.shape(like)[0]
    )
    return tf.ensure_shape(texts, like.shape)
