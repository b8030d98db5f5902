"""Cleaning of texts, in the TensorFlow graph."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from tfrec_llm.errors import UsageError
from tfrec_llm.keras_api import tf
from tfrec_llm.text import cleaning_rules as rules
from tfrec_llm.text.cleaning_rules import Rule
from tfrec_llm.text.compatibility_forms import normalise_compatibility_forms
from tfrec_llm.text.html_entities import decode_html_entities
from tfrec_llm.text.stop_word_rules import stop_word_rules
from tfrec_llm.text.stop_words import check_stop_words

CLEANING_LEVELS = ("none", "light", "full")

_MAX_ROUNDS = 8


def clean_text(texts: Any, level: str = "light", stop_words: Iterable[str] = ()) -> Any:
    """Cleans texts with string ops only, so that a served model does the same.

    light: HTML entities decoded and tags removed; web addresses, emoji, control and invisible
    characters removed; full-width letters and digits made plain (full-width punctuation stays);
    title marks 《》〈〉「」『』 removed, their content kept; a leading 一本, 这是一部 … removed;
    white space collapsed. Sentence punctuation, traditional and simplified characters stay.

    full: light, then punctuation, symbols, free-standing numbers and stop words removed.
    "catch-22", "mp3", 三体 and 三体2 stay, "catch 22" and "1984" lose the number. An apostrophe
    or hyphen stays inside a word. English stop words go as whole tokens between spaces or
    punctuation, in any case; written against a Chinese character they stay (IT行业). Chinese
    stop words of several characters go wherever they stand, and so do particles such as 的 and
    了, unless part of a word known to hold them (目的); other single characters (在, 和) go only
    where they stand alone.

    The steps of a level are repeated until nothing changes, at most eight times, so cleaning a
    cleaned text changes nothing (short of markup that is escaped or nested eight deep).

    Args:
        texts: string tensor of any shape, UTF-8; bytes that are not count as spaces.
        level: "none", "light" or "full". Defaults to "light".
        stop_words: str each, dropped by "full" beside its own lists.

    Returns: string tensor of the same shape.

    Raises: UsageError for an unknown level, stop words that are not single words, and stop
        words with a level that drops none.

    Example:
        >>> texts = tf.constant(["一本关于 <b>ＡＩ</b> 的小说！", "Don't miss: The Hobbit (1937)"])
        >>> [text.decode() for text in clean_text(texts, level="light").numpy()]
        ['关于 AI 的小说！', "Don't miss: The Hobbit (1937)"]
        >>> [text.decode() for text in clean_text(texts, level="full").numpy()]
        ['AI 小说', 'miss Hobbit']
    """
    words = check_level(level, stop_words)
    texts = tf.convert_to_tensor(texts, tf.string)
    if level == "none":
        return tf.identity(texts)
    flat = tf.strings.unicode_transcode(
        tf.reshape(texts, [-1]),
        input_encoding="UTF-8",
        output_encoding="UTF-8",
        errors="replace",
        replacement_char=ord(" "),
        replace_control_characters=True,
    )

    cleaned = _until_stable(_light, flat)
    if level == "full":
        cleaned = _until_stable(lambda before: _without_stop_words(before, words), cleaned)
    return tf.ensure_shape(tf.reshape(cleaned, tf.shape(texts)), texts.shape)


def check_level(level: str, stop_words: Iterable[str]) -> tuple[str, ...]:
    """Checks the settings of a cleaning; returns the further stop words, plain and sorted."""
    if level not in CLEANING_LEVELS:
        raise UsageError(f"`clean` must be one of {', '.join(CLEANING_LEVELS)}, got {level!r}")
    words = check_stop_words(stop_words)
    if words and level != "full":
        raise UsageError(
            f"`stop_words` are dropped by the level full only, but `clean` is {level!r}. Choose "
            "full, or give no stop words."
        )
    return words


def cleaning_sha256(level: str, stop_words: Iterable[str] = ()) -> str:
    """Hex digest of all rules of a level, words included; it changes when a result may."""
    words = check_level(level, stop_words)
    applied: list[Any] = [level, _MAX_ROUNDS]
    if level != "none":
        applied += [rules.HTML_ENTITY, rules.UNTOUCHED_BY_NFKC, *_BEFORE_NFKC, *_AFTER_NFKC]
    if level == "full":
        applied += [*rules.WORD_MARK_RULES, rules.DOUBLE_SPACE, *rules.TOKEN_RULES]
        applied += stop_word_rules(words)
    return hashlib.sha256(json.dumps(applied).encode()).hexdigest()


_BEFORE_NFKC = (rules.INVISIBLE, rules.MEANINGLESS_OR_EMOJI)
_AFTER_NFKC = (
    *rules.HTML_RULES,
    rules.URL,
    *rules.TITLE_MARK_RULES,
    *rules.WHITE_SPACE_RULES,
    rules.LEADING_CLASSIFIER,
)


def _until_stable(step: Callable[[Any], Any], texts: Any) -> Any:
    def one_round(number: Any, _: Any, before: Any) -> tuple[Any, Any, Any]:
        after = step(before)
        return number + 1, tf.reduce_any(after != before), after

    _, _, stable = tf.while_loop(
        lambda number, changed, _: changed & (number < _MAX_ROUNDS),
        one_round,
        (tf.constant(0), tf.constant(True), texts),
    )
    return stable


def _light(texts: Any) -> Any:
    texts = _replace(decode_html_entities(texts), _BEFORE_NFKC)
    return _replace(normalise_compatibility_forms(texts), _AFTER_NFKC)


def _without_stop_words(texts: Any, words: tuple[str, ...]) -> Any:
    texts = _replace(texts, rules.WORD_MARK_RULES)
    texts = tf.strings.join([" ", texts, " "])
    texts = _replace(texts, [rules.DOUBLE_SPACE, *rules.TOKEN_RULES, *stop_word_rules(words)])
    return _replace(texts, [*rules.WHITE_SPACE_RULES, rules.LEADING_CLASSIFIER])


def _replace(texts: Any, replacements: Sequence[Rule]) -> Any:
    for pattern, replacement in replacements:
        texts = tf.strings.regex_replace(texts, pattern, replacement)
    return texts
