"""Remakes the tables of the bookshop from its hand-written shelves.

    python -m tfrec_llm.data.bookshop.generate --out /tmp/bookshop

The same shelves and the same seed give the same bytes, on every machine.
"""

from __future__ import annotations

import argparse
import csv
import datetime as dt
import random
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path

from tfrec_llm.data.bookshop.books import Book, read_shelves
from tfrec_llm.data.bookshop.histories import (
    Reader,
    add_history,
    draw_minutes,
    invent_reader,
)
from tfrec_llm.data.bookshop.sentences import describe_taste, read_phrases
from tfrec_llm.data.bookshop.shop import Shop
from tfrec_llm.errors import TfrecLlmError
from tfrec_llm.files import atomic_file
from tfrec_llm.seeds import child_seed

SEED = 20
NUM_READERS = 800
OPENING = dt.datetime(2022, 1, 1)
ABOUT_SHARE = 0.65
"""Share of the readers who say something about themselves."""

SECOND_THEME_SHARE = 0.5
"""Share of the sentences that name a second theme, where the reader has one."""

_HERE = Path(__file__).parent


def generate_bookshop(out: str | Path, seed: int = SEED) -> dict[str, int]:
    """Writes `items.csv`, `users.csv` and `interactions.csv`.

    Args:
        out: folder for the three files; made if it is missing.
        seed: int, another one gives other readers for the same books.

    Returns: the number of rows of each file, by its name.
    Raises: DataError when a shelf file is not in order.

    Example:
        >>> import tempfile
        >>> sorted(generate_bookshop(tempfile.mkdtemp()))
        ['interactions.csv', 'items.csv', 'users.csv']
    """
    books = read_shelves(_HERE / "shelves")
    shop = Shop(books, seed)
    readers = []
    for number in range(1, NUM_READERS):
        user_id = f"reader-{number:03d}"
        rng = random.Random(child_seed(seed, "reader", user_id))
        readers.append(invent_reader(shop, user_id, rng))
    abouts = _write_abouts(readers, seed)
    li = _reader_li(shop, random.Random(child_seed(seed, "reader", "reader-li")))
    readers.append(li)
    abouts[li.user_id] = "喜欢阅读科幻小说，最近在追《三体》"
    interactions = sorted((m, r.user_id, item_id) for r in readers for m, item_id in r.history)

    tables: dict[str, tuple[list[str], list[list[str]]]] = {
        "items.csv": (
            ["item_id", "title", "author", "description", "language", "shelf", "theme"],
            [_item_row(book) for book in books],
        ),
        "users.csv": (
            ["user_id", "about"],
            [[reader.user_id, abouts.get(reader.user_id, "")] for reader in readers],
        ),
        "interactions.csv": (
            ["user_id", "item_id", "timestamp"],
            [[user, item, _timestamp(minute)] for minute, user, item in interactions],
        ),
    }
    for name, (header, rows) in tables.items():
        _write_csv(Path(out) / name, header, rows)
    return {name: len(rows) for name, (_, rows) in tables.items()}


def _write_abouts(readers: Iterable[Reader], seed: int) -> dict[str, str]:
    """Lets some readers write a sentence; no two sentences are the same."""
    phrases = read_phrases(_HERE)
    abouts: dict[str, str] = {}
    taken: set[str] = set()
    for reader in readers:
        rng = random.Random(child_seed(seed, "about", reader.user_id))
        if rng.random() >= ABOUT_SHARE:
            continue
        language = reader.languages[0]
        num_themes = 2 if rng.random() < SECOND_THEME_SHARE else 1
        themes = reader.themes[:num_themes]
        about = describe_taste(phrases[language], language, themes, rng)
        while about in taken:
            about = describe_taste(phrases[language], language, themes, rng)
        taken.add(about)
        abouts[reader.user_id] = about
    return abouts


def _reader_li(shop: Shop, rng: random.Random) -> Reader:
    """Makes the reader of the examples: Chinese science fiction, `three-body` at the end."""
    li = Reader("reader-li", ("zh",), ["first_contact", "space_opera"])
    *minutes, last = draw_minutes(8, rng)
    add_history(
        shop,
        li,
        minutes,
        rng,
        forbidden=frozenset(b.item_id for b in shop.books if b.shelf != "science_fiction")
        | {"three-body"},
        random_share=0.0,
        drift_share=0.0,
    )
    li.history.append((last, "three-body"))
    return li


def _item_row(book: Book) -> list[str]:
    return [
        book.item_id,
        book.title,
        book.author,
        book.description,
        book.language,
        book.shelf,
        book.theme,
    ]


def _timestamp(minute: int) -> str:
    return (OPENING + dt.timedelta(minutes=minute)).isoformat(timespec="minutes")


def _write_csv(path: Path, header: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    with (
        atomic_file(path) as temporary,
        open(temporary, "w", encoding="utf-8", newline="") as file,
    ):
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(header)
        writer.writerows(rows)


def _main() -> int:
    parser = argparse.ArgumentParser(
        prog="python -m tfrec_llm.data.bookshop.generate",
        description="Remakes the tables of the bookshop from its hand-written shelves.",
    )
    parser.add_argument("--out", type=Path, default=_HERE, help="folder (default: its own)")
    out = parser.parse_args().out
    try:
        num_rows = generate_bookshop(out)
    except TfrecLlmError as error:
        print(error, file=sys.stderr)
        return error.exit_code
    except OSError as error:
        print(f"{out} cannot be written: {error}", file=sys.stderr)
        return 1
    for name, number in num_rows.items():
        print(f"{out / name}: {number} rows", file=sys.stderr)
    return 0


if __name__ == "__main__":
    sys.exit(_main())
