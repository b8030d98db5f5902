"""Named data sets → the same checked tables as those of one's own."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from importlib import resources
from pathlib import Path

import polars as pl

from tfrec_llm.data.file_formats import read_raw_table
from tfrec_llm.data.schema import Dataset
from tfrec_llm.data.tables import read_tables
from tfrec_llm.errors import DataError


def read_bookshop(
    folder: str | Path | None = None,
    *,
    min_rating: float | None = None,
    max_quarantined_share: float = 0.5,
) -> Dataset:
    """Reads the small made-up bookshop that comes with the package.

    Args:
        folder: another folder with `items.csv`, `interactions.csv` and `users.csv`.
        min_rating: as in `read_tables`; the bookshop itself has no ratings.
        max_quarantined_share: as in `read_tables`.

    Returns: books with title, author and description; users with a line about themselves.

    Example:
        >>> data = read_bookshop()
        >>> data.name, data.has_order
        ('bookshop', True)
    """
    with contextlib.ExitStack() as stack:
        if folder is None:
            packaged = resources.files("tfrec_llm").joinpath("data", "bookshop")
            folder = stack.enter_context(resources.as_file(packaged))
        folder = _folder(folder, "items.csv", "interactions.csv", "users.csv")
        items = read_raw_table(folder / "items.csv", "items")
        return read_tables(
            items,
            folder / "interactions.csv",
            folder / "users.csv",
            item_text=[c for c in ("title", "author", "description") if c in items.columns],
            min_rating=min_rating,
            max_quarantined_share=max_quarantined_share,
            name="bookshop",
        )


def read_movielens(
    folder: str | Path,
    *,
    min_rating: float | None = 4.0,
    max_quarantined_share: float = 0.5,
) -> Dataset:
    """Reads MovieLens ratings with titles, genres and plot overviews.

    Args:
        folder: holds `items.csv` (movieId, title, genres separated by `|`, overview) and
            `ratings.csv` (userId, movieId, rating from 0.5 to 5, timestamp).
        min_rating: ratings from here on are positives; `None` takes all.
        max_quarantined_share: as in `read_tables`.

    Returns: the tables, in order of time.
    Raises: DataError when a file or column is missing.
    """
    folder = _folder(folder, "items.csv", "ratings.csv")
    items = read_raw_table(folder / "items.csv", "items")
    items.require_column("genres", "item_text")
    genres = pl.col("genres").str.replace_all("|", ", ", literal=True)
    items.frame = items.frame.with_columns(genres)
    return read_tables(
        items,
        folder / "ratings.csv",
        item_id="movieId",
        item_text=["title", "genres", "overview"],
        user_id="userId",
        timestamp="timestamp",
        rating="rating",
        min_rating=min_rating,
        max_quarantined_share=max_quarantined_share,
        name="movielens",
    )


def read_microlens(
    folder: str | Path,
    *,
    min_rating: float | None = None,
    max_quarantined_share: float = 0.5,
) -> Dataset:
    """Reads MicroLens: for each user the videos in order of time, and a title for each video.

    Args:
        folder: holds `items.csv` (itemId, title) and `pairs.tsv.gz` (no header; user, a tab,
            item ids separated by single spaces, oldest first).
        min_rating: there are no ratings, so anything but `None` is an error.
        max_quarantined_share: as in `read_tables`; a `row` in the quarantine of the
            interactions is a line, which holds all items of a user.

    Returns: the tables; order inside each user, no clock.
    Raises: DataError when a file is missing, or a minimal rating is asked for.
    """
    folder = _folder(folder, "items.csv", "pairs.tsv.gz")
    pairs = read_raw_table(folder / "pairs.tsv.gz", "interactions", header=["user_id", "itemId"])
    num_lines = pairs.frame.height
    pairs.frame = pairs.frame.with_columns(pl.col("itemId").str.split(" ")).explode("itemId")
    pairs.num_rows += pairs.frame.height - num_lines
    return read_tables(
        folder / "items.csv",
        pairs,
        item_id="itemId",
        item_text=["title"],
        min_rating=min_rating,
        max_quarantined_share=max_quarantined_share,
        name="microlens",
    )


def read_goodbooks(
    folder: str | Path,
    *,
    min_rating: float | None = 4.0,
    max_quarantined_share: float = 0.5,
) -> Dataset:
    """Reads goodbooks-10k: ratings without time, books with authors and some descriptions.

    Args:
        folder: holds `books.csv` (book_id, title, authors, description) and `ratings.csv.gz`
            (user_id, book_id, rating from 1 to 5).
        min_rating: ratings from here on are positives; `None` takes all.
        max_quarantined_share: as in `read_tables`.

    Returns: the tables, without order: split them with the protocol `random`.
    Raises: DataError when a file or column is missing.
    """
    folder = _folder(folder, "books.csv", "ratings.csv.gz")
    return read_tables(
        folder / "books.csv",
        folder / "ratings.csv.gz",
        item_id="book_id",
        item_text=["title", "authors", "description"],
        rating="rating",
        min_rating=min_rating,
        ordered=False,
        max_quarantined_share=max_quarantined_share,
        name="goodbooks",
    )


READERS: dict[str, Callable[..., Dataset]] = {
    "bookshop": read_bookshop,
    "goodbooks": read_goodbooks,
    "microlens": read_microlens,
    "movielens": read_movielens,
}


def _folder(folder: str | Path, *files: str) -> Path:
    path = Path(folder).expanduser()
    if not path.is_dir():
        raise DataError(f"{path} (data.folder) is no folder; it must hold {', '.join(files)}")
    missing = [name for name in files if not (path / name).is_file()]
    if missing:
        raise DataError(
            f"{path} (data.folder) lacks {', '.join(missing)}; it must hold {', '.join(files)}"
        )
    return path
