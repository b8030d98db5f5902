"""HTML entities decoded in the TensorFlow graph."""

from __future__ import annotations

from html.entities import name2codepoint
from typing import Any

from tfrec_llm.keras_api import tf
from tfrec_llm.text.cleaning_rules import HTML_ENTITY
from tfrec_llm.text.pieces import joined, split_at_marks

# HTML 4 knows 252 names, XML one more.
_CODE_POINTS = {**name2codepoint, "apos": ord("'")}
_NAMES = sorted(_CODE_POINTS)
_CHARACTERS = [chr(_CODE_POINTS[name]) for name in _NAMES]
# Browsers read the numbers 128 to 159 as Windows-1252; the five that it lacks are spaces here.
_WINDOWS = [
    ord(bytes([byte]).decode("cp1252", "replace").replace("\ufffd", " "))
    for byte in range(128, 160)
]
_DIGITS = 7  # the most that HTML_ENTITY lets through


def decode_html_entities(texts: Any) -> Any:
    """Decodes `&amp;`, `&#39;`, `&#x4e09;` once; what is no entity is left alone.

    A number that is no character (0, a surrogate, above 10FFFF hex) or a control character
    becomes a space.

    Args:
        texts: string `(n,)`, without the characters U+0001 and U+0002.

    Returns: string `(n,)`.

    Example:
        >>> decode_html_entities(tf.constant(["Q&amp;A &#65; &unknown;"])).numpy()
        array([b'Q&A A &unknown;'], dtype=object)
    """
    pieces, is_entity = split_at_marks(tf.strings.regex_replace(texts, HTML_ENTITY, "\x01\\1\x01"))
    places = tf.where(is_entity)
    names, repeats = tf.unique(tf.gather_nd(pieces.flat_values, places))
    is_number = tf.strings.regex_full_match(names, "#.*")
    characters = tf.where(is_number, _by_number(names, is_number), _by_name(names))
    characters = tf.gather(characters, repeats)
    decoded = tf.tensor_scatter_nd_update(pieces.flat_values, places, characters)
    return joined(pieces.with_flat_values(decoded), texts)


def _by_name(names: Any) -> Any:
    equal = tf.equal(names[:, tf.newaxis], tf.constant(_NAMES)[tf.newaxis])
    characters = tf.gather(tf.constant(_CHARACTERS), tf.argmax(tf.cast(equal, tf.int8), axis=1))
    unknown = tf.strings.join(["&", names, ";"])
    return tf.where(tf.reduce_any(equal, axis=1), characters, unknown)


def _by_number(names: Any, is_number: Any) -> Any:
    is_hex = tf.strings.regex_full_match(names, "#[xX].*")
    digits = tf.where(is_number, tf.strings.regex_replace(names, "^#[xX]?", ""), "")
    digits = tf.strings.substr(tf.strings.join(["0" * _DIGITS, digits]), -_DIGITS, _DIGITS)
    values = tf.cast(tf.io.decode_raw(digits, tf.uint8), tf.int32)
    values = tf.reshape(values, [-1, _DIGITS])  # of no texts at all it makes shape (0, 0)
    values = tf.where(values <= ord("9"), values - ord("0"), values % 32 + 9)  # a and A are 10
    base = tf.where(is_hex, 16, 10)
    code_points = tf.zeros_like(base)
    for place in range(_DIGITS):
        code_points = code_points * base + values[:, place]
    in_windows = (code_points >= 128) & (code_points < 160)
    windows = tf.gather(tf.constant(_WINDOWS), tf.where(in_windows, code_points - 128, 0))
    code_points = tf.where(in_windows, windows, code_points)
    surrogate = (code_points >= 0xD800) & (code_points < 0xE000)
    none = (code_points < 32) | surrogate | (code_points > 0x10FFFF)
    code_points = tf.where(none, ord(" "), code_points)
    return tf.strings.unicode_encode(code_points[:, tf.newaxis], "UTF-8")
