"""The hand-written shelves → books."""

from __future__ import annotations

import csv
from dataclasses import dataclass
from pathlib import Path

from tfrec_llm.errors import DataError

SHELF_COLUMNS = ["item_id", "title", "author", "theme", "unread", "description"]


@dataclass(frozen=True)
class Book:
    """One book of the shop.

    Attributes:
        item_id: short readable slug, unique in the shop.
        title: as printed.
        author: as printed.
        description: one to three sentences in the language of the book.
        language: `en` or `zh`.
        shelf: such as `science_fiction`.
        theme: a part of the shelf, such as `first_contact`; no two shelves share one.
        is_unread: True for a book that nobody has read yet.
    """

    item_id: str
    title: str
    author: str
    description: str
    language: str
    shelf: str
    theme: str
    is_unread: bool


def read_shelves(folder: str | Path) -> list[Book]:
    r"""Reads all shelf files of a folder, in order of their names.

    Args:
        folder: holds `<language>_<shelf>.csv` with the columns `SHELF_COLUMNS`; `theme` is
            written `<shelf>/<theme>`, `unread` is 0 or 1.

    Returns: the books, file after file, row after row.
    Raises: DataError when there is no file, or a row is not as described here.

    Example:
        >>> import pathlib, tempfile
        >>> folder = pathlib.Path(tempfile.mkdtemp())
        >>> row = "dune,Dune,Frank Herbert,science_fiction/space_opera,0,Sand and spice."
        >>> _ = (folder / "en_science_fiction.csv").write_text(
        ...     f"item_id,title,author,theme,unread,description\n{row}\n")
        >>> [(book.item_id, book.language, book.theme) for book in read_shelves(folder)]
        [('dune', 'en', 'space_opera')]
    """
    paths = sorted(Path(folder).glob("*_*.csv"), key=lambda path: path.name)
    if not paths:
        raise DataError(f"{folder} holds no shelf: files named like en_crime.csv are needed")
    books: dict[str, Book] = {}
    for path in paths:
        for line, book in _read_shelf(path):
            if book.item_id in books:
                raise DataError(
                    f"{path}, line {line}: the item_id {book.item_id!r} is taken; choose another"
                )
            books[book.item_id] = book
    return list(books.values())


def _read_shelf(path: Path) -> list[tuple[int, Book]]:
    language, shelf = path.stem.split("_", 1)
    books = []
    with open(path, encoding="utf-8", newline="") as file:
        rows = csv.DictReader(file, strict=True)
        if rows.fieldnames != SHELF_COLUMNS:
            raise DataError(f"{path}: the header must be {','.join(SHELF_COLUMNS)}")
        for row in rows:
            where = f"{path}, line {rows.line_num}"
            if None in row or not all(row.values()):
                raise DataError(f"{where}: each of the {len(SHELF_COLUMNS)} columns needs a value")
            on_shelf, _, theme = row["theme"].partition("/")
            if on_shelf != shelf or not theme:
                raise DataError(f"{where}: the theme must be {shelf}/…, got {row['theme']!r}")
            if row["unread"] not in ("0", "1"):
                raise DataError(f"{where}: unread must be 0 or 1, got {row['unread']!r}")
            book = Book(
                item_id=row["item_id"],
                title=row["title"],
                author=row["author"],
                description=row["description"],
                language=language,
                shelf=shelf,
                theme=theme,
                is_unread=row["unread"] == "1",
            )
            books.append((rows.line_num, book))
    return books
