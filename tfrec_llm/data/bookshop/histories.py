"""Readers and the books that they read, one after the other."""

from __future__ import annotations

import math
import random
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypeVar

from tfrec_llm.data.bookshop.shop import NUM_DAYS, Shop, weighted_choice

_Value = TypeVar("_Value")

LANGUAGES: dict[tuple[str, ...], float] = {("en",): 0.60, ("zh",): 0.28, ("en", "zh"): 0.12}
"""Share of the readers by the languages that they read."""

NUM_THEMES = {1: 0.15, 2: 0.40, 3: 0.45}
"""Share of the readers by the number of themes that they start with."""

MIX = (0.5, 0.3, 0.2)
"""How often a reader turns to the first, second and third theme of their taste."""

MIN_BOOKS, MEAN_FURTHER_BOOKS, MAX_BOOKS = 3, 10.5, 40
"""A history has MIN_BOOKS and a geometric number of further books."""

LAST_JOIN_DAY = 900
"""A reader's first visit lies between day 0 and this one."""

MEAN_GAP_DAYS = 30.0
"""Mean time between two books; less for those who read more than fits."""

SEQUEL_SHARE = 0.6
"""Chance that the next book is the sequel of the last, where there is one."""

RANDOM_SHARE = 0.15
"""Chance that a book has nothing to do with the reader's taste: a present, a whim."""

SAME_THEME_SHARE, SAME_SHELF_SHARE = 0.35, 0.15
"""Chance to stay with the theme, or else the shelf, of the last book that was no whim."""

DRIFT_SHARE = 0.06
"""Chance, after each book, that a new theme joins the taste, near to one that is there."""

NEAR_SHELF_SHARE, KINDRED_SHELF_SHARE = 0.45, 0.3
"""Chance that a further theme is from the same shelf, or else from a kindred one."""

MOOD_FACTOR, LANGUAGE_FACTOR = 2.0, 2.0
"""How much dearer a book is in the reader's mood, or in the language of the last book."""


@dataclass
class Reader:
    """One reader and what they have read.

    Attributes:
        user_id: unique in the shop.
        languages: languages that they read; the first is the main one.
        themes: their taste when they joined, the dearest theme first.
        history: (minute since the shop opened, item_id), oldest first.
    """

    user_id: str
    languages: tuple[str, ...]
    themes: list[str]
    history: list[tuple[int, str]] = field(default_factory=list)


def invent_reader(shop: Shop, user_id: str, rng: random.Random) -> Reader:
    """Draws a reader with languages, taste and a whole history.

    Args:
        shop: the books and what readers react to.
        user_id: their name.
        rng: every draw comes from here.
    """
    languages = _draw_from(rng, LANGUAGES)
    if len(languages) > 1 and rng.random() < 0.5:
        languages = languages[::-1]
    themes = _draw_taste(shop, languages, _draw_from(rng, NUM_THEMES), rng)
    reader = Reader(user_id, languages, themes)
    further = int(-MEAN_FURTHER_BOOKS * math.log(1.0 - rng.random()))
    num_books = min(MAX_BOOKS, MIN_BOOKS + further)
    add_history(shop, reader, draw_minutes(num_books, rng), rng)
    return reader


def draw_minutes(num_books: int, rng: random.Random) -> list[int]:
    """Draws when a reader takes their books: strictly increasing minutes of opening hours."""
    first_day = rng.random() * LAST_JOIN_DAY
    gaps = [-MEAN_GAP_DAYS * math.log(1.0 - rng.random()) for _ in range(num_books - 1)]
    room_days = (NUM_DAYS - 2 - first_day) * (0.4 + 0.6 * rng.random())
    shrink = min(1.0, room_days / max(sum(gaps), 1e-9))
    minutes: list[int] = []
    day = first_day
    for gap in [0.0, *gaps]:
        day += gap * shrink
        minute = int(day) * 1440 + 480 + int(rng.random() * 840)
        if minutes and minute <= minutes[-1]:
            minute = minutes[-1] + 1 + int(rng.random() * 9)
        minutes.append(minute)
    return minutes


def add_history(
    shop: Shop,
    reader: Reader,
    minutes: Iterable[int],
    rng: random.Random,
    *,
    forbidden: frozenset[str] = frozenset(),
    random_share: float = RANDOM_SHARE,
    drift_share: float = DRIFT_SHARE,
) -> None:
    """Lets a reader choose a book at each of the given minutes.

    Args:
        shop: the books and what readers react to.
        reader: gets the books in their history.
        minutes: int, since the shop opened, increasing.
        rng: every draw comes from here.
        forbidden: item_ids that this reader does not take now.
        random_share: chance of a whim, see `RANDOM_SHARE`.
        drift_share: chance of a change of taste, see `DRIFT_SHARE`.
    """
    choosing = _Choosing(shop, reader, forbidden, rng)
    for minute in minutes:
        day = minute / 1440
        item_id = choosing.sequel(day)
        if item_id is None and rng.random() < random_share:
            item_id = choosing.whim(day)
        elif item_id is None:
            item_id = choosing.by_taste(day)
        reader.history.append((minute, item_id))
        if rng.random() < drift_share:
            choosing.change_taste()


class _Choosing:
    """One reader in front of the shelves: what they like, what they have read."""

    def __init__(
        self, shop: Shop, reader: Reader, forbidden: frozenset[str], rng: random.Random
    ) -> None:
        self.shop = shop
        self.rng = rng
        self.languages = reader.languages
        self.books = {
            book.item_id: book
            for book in shop.books
            if book.language in reader.languages and book.item_id not in forbidden
        }
        self.next_in_series = {before: item_id for item_id, before in shop.previous.items()}
        self.taste = list(reader.themes)
        self.mood = int(rng.random() < 0.5)
        self.read: list[str] = []
        self.last_theme: str | None = None  # of the last book that was no whim

    def sequel(self, day: float) -> str | None:
        item_id = self.next_in_series.get(self.read[-1]) if self.read else None
        if item_id in self._can_read(day) and self.rng.random() < SEQUEL_SHARE:
            assert item_id is not None
            return self._take(item_id)
        return None

    def whim(self, day: float) -> str:
        choices = self._can_read(day)
        weights = [self.shop.popularity[i] * self.shop.novelty(i, day) for i in choices]
        item_id = weighted_choice(self.rng, choices, weights)
        self.read.append(item_id)
        return item_id

    def by_taste(self, day: float) -> str:
        can_read = self._can_read(day)
        theme = self._next_theme()
        choices = [i for i in can_read if self.books[i].theme == theme]
        if not choices:  # read empty: the shelf, the rest of the taste, something new
            shelf = self.shop.shelf_of[theme]
            choices = [i for i in can_read if self.books[i].shelf == shelf]
            choices = choices or [i for i in can_read if self.books[i].theme in self.taste]
            if not choices:
                self.change_taste()
                choices = can_read
        return self._take(
            weighted_choice(self.rng, choices, [self._attraction(i, day) for i in choices])
        )

    def change_taste(self) -> None:
        near = self.taste[int(self.rng.random() * len(self.taste))]
        themes = themes_in(self.shop, self.languages)
        self.taste.append(_theme_near(self.shop, near, self.taste, themes, self.rng))
        del self.taste[: -len(MIX)]

    def _can_read(self, day: float) -> list[str]:
        return [
            item_id
            for item_id in self.books
            if item_id not in self.read
            and self.shop.release_day[item_id] <= day
            and self.shop.previous.get(item_id, item_id) in [item_id, *self.read]
        ]

    def _next_theme(self) -> str:
        if self.last_theme is not None:
            u = self.rng.random()
            if u < SAME_THEME_SHARE:
                return self.last_theme
            if u < SAME_THEME_SHARE + SAME_SHELF_SHARE:
                shelf = self.shop.shelf_of[self.last_theme]
                themes = [t for t, s in self.shop.shelf_of.items() if s == shelf]
                weights = [self.shop.theme_weight[t] for t in themes]
                return weighted_choice(self.rng, themes, weights)
        return weighted_choice(self.rng, self.taste, MIX[: len(self.taste)])

    def _attraction(self, item_id: str, day: float) -> float:
        book = self.books[item_id]
        weight = self.shop.popularity[item_id] * self.shop.novelty(item_id, day)
        if self.shop.mood[item_id] == self.mood:
            weight *= MOOD_FACTOR
        if self.read and self.books[self.read[-1]].language == book.language:
            weight *= LANGUAGE_FACTOR
        return weight

    def _take(self, item_id: str) -> str:
        self.read.append(item_id)
        self.last_theme = self.books[item_id].theme
        return item_id


def themes_in(shop: Shop, languages: Sequence[str], min_books: int = 2) -> list[str]:
    """Returns the themes with enough books in the given languages."""
    num_books: dict[str, int] = dict.fromkeys(shop.shelf_of, 0)
    for book in shop.books:
        num_books[book.theme] += book.language in languages
    return [theme for theme, number in num_books.items() if number >= min_books]


def _draw_taste(
    shop: Shop, languages: Sequence[str], num_themes: int, rng: random.Random
) -> list[str]:
    themes = themes_in(shop, languages)
    taste = [weighted_choice(rng, themes, [shop.theme_weight[t] for t in themes])]
    while len(taste) < min(num_themes, len(themes)):
        taste.append(_theme_near(shop, taste[0], taste, themes, rng))
    return taste


def _theme_near(
    shop: Shop, theme: str, taste: Sequence[str], themes: Sequence[str], rng: random.Random
) -> str:
    """Draws a theme that is not in the taste, often close to one that is."""
    new = [t for t in themes if t not in taste]
    u = rng.random()
    near: list[str] = []
    if u < NEAR_SHELF_SHARE:
        near = [t for t in new if shop.shelf_of[t] == shop.shelf_of[theme]]
    elif u < NEAR_SHELF_SHARE + KINDRED_SHELF_SHARE:
        kindred = shop.kindred_themes(theme)
        near = [t for t in new if t in kindred]
    choices = near or new or list(themes)
    return weighted_choice(rng, choices, [shop.theme_weight[t] for t in choices])


def _draw_from(rng: random.Random, shares: Mapping[_Value, float]) -> _Value:
    left = rng.random()
    for value, share in shares.items():
        left -= share
        if left < 0.0:
            return value
    return next(reversed(list(shares)))
