"""A reader's themes → one sentence that the reader might have written."""

from __future__ import annotations

import csv
import random
from collections.abc import Sequence
from pathlib import Path

_FRAMES = {
    "en": {
        1: [
            "I come here for {a}.",
            "{A}: that is all I need.",
            "Always looking for {a}.",
            "After work I like nothing better than {a}.",
            "I can never get enough of {a}.",
            "Give me {a} and I am happy.",
            "Retired teacher, fond of {a}.",
            "Lately I have been into {a}.",
            "A friend got me hooked on {a}.",
            "Weekends are for {a}.",
            "If I am honest, nothing beats {a}.",
            "My bedside table is buried under {a}.",
            "Nurse on night shifts with a weakness for {a}.",
            "I have loved {a} since I was at school.",
        ],
        2: [
            "I come here for {a}, and now and then for {b}.",
            "Mostly {a}, sometimes {b}.",
            "Give me {a} or {b} and I am happy.",
            "Torn between {a} and {b}.",
            "{A} on weekdays, {b} on Sundays.",
            "Years ago it was {b}, these days it is {a}.",
            "My husband brings home {b}, but I prefer {a}.",
            "Student with too little time for {a} and {b}.",
            "I love {a}, and I would not say no to {b}.",
            "Looking for {a}; also curious about {b}.",
        ],
    },
    "zh": {
        1: [
            "最喜欢{a}。",
            "平时就爱看{a}。",
            "一直在找{a}。",
            "下班以后只想看{a}。",
            "对{a}完全没有抵抗力。",
            "{a}，我可以看一整天。",
            "朋友推荐之后，迷上了{a}。",
            "从小就喜欢{a}。",
            "周末的下午留给{a}。",
            "睡前习惯翻一翻{a}。",
            "退休在家，爱好是{a}。",
            "地铁上看得最多的是{a}。",
        ],
        2: [
            "主要看{a}，偶尔也看{b}。",
            "喜欢{a}，也喜欢{b}。",
            "{a}和{b}，哪个都舍不得放下。",
            "最近常看{b}，但最爱的还是{a}。",
            "工作日看{b}，放假看{a}。",
            "上班族一枚，爱看{a}，还有{b}。",
            "想多找些{a}，顺便看看{b}。",
            "以前只看{b}，现在更偏爱{a}。",
        ],
    },
}


def read_phrases(folder: str | Path) -> dict[str, dict[str, list[str]]]:
    """Reads the words that readers use for the themes.

    Args:
        folder: holds `tastes_en.csv` and `tastes_zh.csv` with the columns theme
            (`<shelf>/<theme>`) and phrase.

    Returns: phrases by language and theme (without its shelf).

    Example:
        >>> read_phrases(Path(__file__).parent)["zh"]["baking"][0]
        '面包和蛋糕的做法'
    """
    phrases: dict[str, dict[str, list[str]]] = {}
    for language in _FRAMES:
        path = Path(folder) / f"tastes_{language}.csv"
        with open(path, encoding="utf-8", newline="") as file:
            for row in csv.DictReader(file, strict=True):
                theme = row["theme"].partition("/")[2]
                phrases.setdefault(language, {}).setdefault(theme, []).append(row["phrase"])
    return phrases


def describe_taste(
    phrases: dict[str, list[str]], language: str, themes: Sequence[str], rng: random.Random
) -> str:
    """Writes one sentence that names one or two themes in everyday words.

    Args:
        phrases: phrases in `language` by theme.
        language: `en` or `zh`.
        themes: one or two themes, the dearest first.
        rng: chooses the frame and the phrases.

    Example:
        >>> describe_taste({"baking": ["bread and cakes"]}, "en", ["baking"], random.Random(1))
        'My bedside table is buried under bread and cakes.'
    """
    chosen = [_pick(phrases[theme], rng) for theme in themes]
    a, b = chosen[0], chosen[-1]
    frame = _pick(_FRAMES[language][len(chosen)], rng)
    return frame.format(a=a, b=b, A=a[0].upper() + a[1:])


def _pick(choices: Sequence[str], rng: random.Random) -> str:
    return choices[int(rng.random() * len(choices))]
