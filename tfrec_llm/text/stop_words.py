"""Stop words: our own lists, and those of a user's file."""

from __future__ import annotations

import functools
import re
import unicodedata
from collections.abc import Iterable
from pathlib import Path

from tfrec_llm.errors import DataError, UsageError

MAX_STOP_WORDS = 2000  # of a user; beyond some thousands RE2 falls back to a slow matcher

_LISTS = Path(__file__).with_name("stop_words")
_APOSTROPHES = str.maketrans("‘’ʼ´`′‐‑−", "''''''---")
_WORD = re.compile(r"\w+(?:['-]\w+)*")


def load_stop_words(path: str | Path) -> tuple[str, ...]:
    r"""Reads a file of stop words: UTF-8, one word a line, `#` starts a comment.

    Args:
        path: the file. Words are compared as cleaned text is: without regard to case, with
            full-width letters and curly apostrophes made plain.

    Returns: the words in the order of the file, each once.

    Raises: DataError, with file and line, when the file cannot be read, is not UTF-8, holds no
        word or too many, or a line is not one word.

    Example:
        >>> import pathlib, tempfile
        >>> path = pathlib.Path(tempfile.mkdtemp()) / "words.txt"
        >>> _ = path.write_text("# our shop\nBook  # in every title\n小说\n", encoding="utf-8")
        >>> load_stop_words(path)
        ('book', '小说')
    """
    path = Path(path)
    try:
        content = path.read_bytes()
    except OSError as error:
        raise DataError(
            f"the stop words {path} cannot be read: {error.strerror}. Give a text file with one "
            "word a line."
        ) from error
    words: dict[str, None] = {}
    for number, line in enumerate(content.removeprefix(b"\xef\xbb\xbf").splitlines(), start=1):
        try:
            text = line.decode("utf-8")
        except UnicodeDecodeError as error:
            raise DataError(
                f"{path}, line {number} is not UTF-8 (byte {error.start + 1}). Save the file as "
                "UTF-8."
            ) from error
        if word := text.split("#", 1)[0].strip():
            if fault := _fault(plain := _plain(word)):
                raise DataError(f"{path}, line {number}: the stop word {word!r} {fault}")
            words[plain] = None
    if not words:
        raise DataError(f"{path} holds no stop word. Write one word a line, or leave the file out.")
    if len(words) > MAX_STOP_WORDS:
        raise DataError(
            f"{path} holds {len(words)} stop words, more than {MAX_STOP_WORDS}. Leave out the "
            "rare ones: dropping them changes little."
        )
    return tuple(words)


def check_stop_words(words: Iterable[str]) -> tuple[str, ...]:
    """Makes words given in Python plain, as `load_stop_words` does; each once, sorted.

    Raises: UsageError when one of them is not one word, or there are too many.

    Example:
        >>> check_stop_words(["Novel", "novel", "小说"])
        ('novel', '小说')
    """
    if isinstance(words, str):
        raise UsageError(f"`stop_words` must be a list of words, got the text {words!r}")
    plain = set()
    for word in words:
        if not isinstance(word, str):
            raise UsageError(f"`stop_words` must be a list of words, got {word!r} in it")
        if fault := _fault(_plain(word)):
            raise UsageError(f"`stop_words`: the stop word {word!r} {fault}")
        plain.add(_plain(word))
    if len(plain) > MAX_STOP_WORDS:
        raise UsageError(
            f"`stop_words` must be at most {MAX_STOP_WORDS} words, got {len(plain)}. Leave out "
            "the rare ones: dropping them changes little."
        )
    return tuple(sorted(plain))


@functools.cache
def own_list(name: str) -> tuple[str, ...]:
    """Reads one of our own lists: "en", "zh", "zh_particles" or "zh_kept"."""
    return load_stop_words(_LISTS / f"{name}.txt")


def _plain(word: str) -> str:
    plain = unicodedata.normalize("NFKC", word.strip().translate(_APOSTROPHES))
    return plain.translate(_APOSTROPHES).lower()


def _fault(word: str) -> str | None:
    """Says why a plain word could never match, or None."""
    if not word:
        return "is empty. Leave it out."
    if any(character.isspace() for character in word):
        return "holds a space. Write one word a line."
    # Combining marks belong to their letters, but \w does not know them.
    letters = "".join(c for c in word if unicodedata.category(c)[0] != "M" and c != "_")
    if "_" in word or not _WORD.fullmatch(letters):
        return (
            "must be letters and digits, with ' or - inside the word only: other signs are gone "
            "before words are compared."
        )
    return None
