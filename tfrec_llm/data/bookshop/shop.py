"""What a bookshop adds to its books: popularity, release dates, moods, series."""

from __future__ import annotations

import math
import random
import re
from collections.abc import Sequence

from tfrec_llm.data.bookshop.books import Book
from tfrec_llm.seeds import child_seed

NUM_DAYS = 1096
"""The shop is open for three years; day 0 is its first."""

POPULARITY_EXPONENT = 1.0
"""The book of rank r in its theme and language has the popularity r ** -exponent."""

THEME_EXPONENT = 0.5
"""The same for the themes, by the number of readers who take them up."""

LATE_SHARE = 0.3
"""Share of the books that come out while the shop is open."""

LAST_RELEASE_DAY = 850
"""No book comes out later, so that each has time to be read."""

NOVELTY_BOOST, NOVELTY_DAYS = 3.0, 45.0
"""A new book is 1 + boost times as attractive; after so many days half of the boost is left."""

KINDRED_SHELVES = (
    {"science_fiction", "popular_science"},
    {"fantasy", "martial_arts"},
    {"fantasy", "childrens"},
    {"crime", "romance"},
    {"history", "travel"},
    {"history", "martial_arts"},
    {"cooking", "poetry_nature"},
    {"cooking", "travel"},
    {"business", "philosophy"},
    {"romance", "poetry_nature"},
    {"popular_science", "childrens"},
)
"""Shelves that the same person often visits."""


def draw(seed: int, *names: object) -> float:
    """Returns a number in [0, 1) that depends on nothing but the seed and the names."""
    return child_seed(seed, *names) / 2**31


class Shop:
    """The books together with what readers react to.

    A number that belongs to a book hangs on the seed and its item_id alone, so a book more or
    less leaves the others as they are.

    Args:
        books: all books.
        seed: int, the seed of everything that is drawn.

    Attributes:
        books: the books that can be read, `is_unread` ones left out.
        popularity: weight in (0, 1] by item_id.
        release_day: int by item_id; up to 0 for books that are out when the shop opens.
        mood: 0 or 1 by item_id: a trait that shows in no text, only in who reads the book.
        previous: for a later book of a series, the item_id of the book before it.
        theme_weight: weight in (0, 1] by theme.
        shelf_of: shelf by theme.
    """

    def __init__(self, books: Sequence[Book], seed: int) -> None:
        self.books = [book for book in books if not book.is_unread]
        self.previous = _find_series(self.books)
        self.shelf_of = {book.theme: book.shelf for book in self.books}
        in_series = {*self.previous, *self.previous.values()}
        by_rank = sorted(
            self.books,
            key=lambda b: (b.item_id not in in_series, draw(seed, "popularity", b.item_id)),
        )
        self.popularity: dict[str, float] = {}
        num_ranked: dict[tuple[str, str], int] = {}
        for book in by_rank:
            rank = num_ranked.get((book.language, book.theme), 0) + 1
            num_ranked[book.language, book.theme] = rank
            self.popularity[book.item_id] = rank**-POPULARITY_EXPONENT
        themes = sorted(self.shelf_of, key=lambda theme: draw(seed, "theme", theme))
        self.theme_weight = {t: (1 + i) ** -THEME_EXPONENT for i, t in enumerate(themes)}
        self.mood = {b.item_id: int(draw(seed, "mood", b.item_id) < 0.5) for b in self.books}
        self.release_day = {
            b.item_id: 0 if b.item_id in in_series else _release_day(seed, b.item_id)
            for b in self.books
        }

    def novelty(self, item_id: str, day: float) -> float:
        """Returns how much more attractive a book is on a day for being new, at least 1."""
        age_days = max(0.0, day - self.release_day[item_id])
        return 1.0 + NOVELTY_BOOST / (1.0 + age_days / NOVELTY_DAYS)

    def kindred_themes(self, theme: str) -> list[str]:
        """Returns the themes on shelves that lie close to the shelf of a theme."""
        shelf = self.shelf_of[theme]
        near = {other for pair in KINDRED_SHELVES if shelf in pair for other in pair - {shelf}}
        return [t for t, s in self.shelf_of.items() if s in near]


def weighted_choice(rng: random.Random, choices: Sequence[str], weights: Sequence[float]) -> str:
    """Returns one of the choices, drawn in proportion to its weight.

    Only `rng.random()` and `math.fsum` are used: they give the same numbers in every Python.
    """
    left = rng.random() * math.fsum(weights)
    for choice, weight in zip(choices, weights, strict=True):
        left -= weight
        if left < 0.0:
            return choice
    return choices[-1]


def _find_series(books: Sequence[Book]) -> dict[str, str]:
    ids = {book.item_id for book in books}
    previous: dict[str, str] = {}
    for item_id in sorted(ids):
        match = re.fullmatch(r"(.+)-([2-9])", item_id)
        if not match:
            continue
        base, number = match[1], int(match[2])
        before = base if number == 2 else f"{base}-{number - 1}"
        if before in ids:
            previous[item_id] = before
    return previous


def _release_day(seed: int, item_id: str) -> int:
    if draw(seed, "late", item_id) < LATE_SHARE:
        return 30 + int(draw(seed, "release", item_id) * (LAST_RELEASE_DAY - 30))
    return -int(draw(seed, "release", item_id) * 3000)
