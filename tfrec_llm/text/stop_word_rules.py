"""Stop words as rules of cleaning."""

from __future__ import annotations

import functools
import re
from collections.abc import Iterable

from tfrec_llm.text.cleaning_rules import Rule
from tfrec_llm.text.stop_words import own_list

# Enough of Unicode's Han to tell a Chinese stop word from one of an alphabet.
_HAN = re.compile("[\u3005\u3007\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U000323af]")


@functools.cache
def stop_word_rules(words: tuple[str, ...] = ()) -> tuple[Rule, ...]:
    """Returns the rules that drop stop words; tokens stand between doubled spaces before them.

    First go words of an alphabet and single Chinese characters that stand between two spaces.
    Then running Chinese text is read from the left, and the longest word known at a place is
    taken and marked `U+0001 word U+0002`: a word to be kept loses its marks, a stop word goes.

    Args:
        words: further stop words, as `check_stop_words` returns them; they win over the words
            to be kept.

    Example:
        >>> alone, running, *_ = stop_word_rules(("novel", "小说"))
        >>> "novel" in alone.pattern, "小说" in running.pattern
        (True, True)
    """
    stop_words = {*own_list("en"), *own_list("zh"), *words}
    running = {word for word in stop_words if len(word) > 1 and _HAN.search(word)}
    alone = stop_words - running
    running |= set(own_list("zh_particles"))
    kept = set(own_list("zh_kept")) - stop_words
    return (
        Rule(rf"(?i) (?:{_either(alone)}) ", ""),
        Rule(_either(running | kept), "\x01\\0\x02"),
        Rule(f"\x01({_either(kept)})\x02", r"\1"),
        Rule("\x01[^\x02]+\x02", " "),
    )


def _longest_first(words: Iterable[str]) -> list[str]:
    return sorted(words, key=lambda word: (-len(word), word))


def _either(words: Iterable[str]) -> str:
    return "|".join(re.escape(word) for word in _longest_first(words))
