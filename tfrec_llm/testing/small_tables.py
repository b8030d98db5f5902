"""A small shop as CSV files, with something of everything that real tables bring along."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from pathlib import Path

import numpy as np

ODD_IDS = ('"quoted, id"', "🚀📚", "with space", "日本", "'; --")
LONG_TEXT = "space opera " * 8334  # 100 008 characters
UNREAD = "unread"
SILENT = "silent"

_TASTES = (
    ("space", "opera", "planet"),
    ("king", "queen", "dragon"),
    ("love", "story", "young"),
    ("city", "train", "house"),
    ("man", "eats", "food"),
)
_ITEMS_OF_A_TASTE = 8
_USERS_OF_A_TASTE = 12
_CLICKS_OF_A_USER = 6


def small_tables(folder: str | Path, *, seed: int = 0) -> Path:
    """Writes items.csv, interactions.csv and users.csv.

    There are five tastes of eight items; each of 60 users took six items of one taste, and every
    second user says so in a text. The first item of each taste has an id of `ODD_IDS`, one text
    is `LONG_TEXT`, nobody took the item `UNREAD`, and the item `SILENT` has no text. Three rows
    cannot be used: an item that is no UTF-8, an interaction with an unknown item, and one that
    stands there twice.

    Args:
        folder: where to write; made if missing.
        seed: int, of the draws.

    Returns: the folder.

    Example:
        >>> import tempfile
        >>> from tfrec_llm.data.tables import read_tables
        >>> folder = small_tables(tempfile.mkdtemp())
        >>> data = read_tables(folder / "items.csv", folder / "interactions.csv")
        >>> data.items.height, data.interactions.height, sum(data.quarantine.counts.values())
        (42, 360, 3)
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    generator = np.random.default_rng(seed)
    items: list[tuple[str, str, str]] = []
    clicks: list[tuple[str, str, int]] = []
    users: list[tuple[str, str]] = []
    for taste, words in enumerate(_TASTES):
        ids = [ODD_IDS[taste], *(f"{words[0]}-{n}" for n in range(1, _ITEMS_OF_A_TASTE))]
        texts = [" ".join(generator.choice(words, 4)) for _ in ids]
        items += [
            (i, f"{words[0]} {n}", t) for n, (i, t) in enumerate(zip(ids, texts, strict=True))
        ]
        for number in range(_USERS_OF_A_TASTE):
            user = f"reader {taste}-{number}"
            taken = generator.permutation(ids)[:_CLICKS_OF_A_USER]
            clicks += [(user, i, 10**9 + 1000 * day + len(users)) for day, i in enumerate(taken)]
            users.append((user, f"{words[0]} {words[1]}" if number % 2 else ""))
    items[1] = (*items[1][:2], LONG_TEXT)
    items += [(UNREAD, "planet", "space planet opera planet"), (SILENT, "", "")]
    clicks += [clicks[0], (users[0][0], "nowhere", 10**9)]
    bad_row = b'broken,"no \xff\xfe UTF-8",text\n'
    _write(folder / "items.csv", ("item_id", "title", "text"), items, bad_row)
    _write(folder / "interactions.csv", ("user_id", "item_id", "timestamp"), clicks)
    _write(folder / "users.csv", ("user_id", "about"), users)
    return folder


def _write(
    path: Path, header: tuple[str, ...], rows: Sequence[tuple[object, ...]], more: bytes = b""
) -> None:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(header)
    writer.writerows(rows)
    path.write_bytes(text.getvalue().encode() + more)
