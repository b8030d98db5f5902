"""A text → its words."""

from __future__ import annotations

import re

# Han, kana, Hangul, and the plane of rare Han characters: scripts without reliable word breaks.
_CJK = "\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uac00-\ud7af\uf900-\ufaff\U00020000-\U0003ffff"
_RUN = re.compile(rf"[{_CJK}]+|[^\W{_CJK}]+")
_IS_CJK = re.compile(rf"[{_CJK}]")


def words_of(text: str) -> list[str]:
    """Returns the words of a text in lower case; of Chinese, Japanese, Korean pairs and triples.

    Args:
        text: str, any language or a mixture.

    Example:
        >>> words_of("Dune 2: 科幻小说")
        ['dune', '2', '科幻', '幻小', '小说', '科幻小', '幻小说']
    """
    words = []
    for run in _RUN.findall(text.lower()):
        if _IS_CJK.match(run) and len(run) > 1:
            words += [run[i : i + n] for n in (2, 3) for i in range(len(run) - n + 1)]
        else:
            words.append(run)
    return words
