"""What is checked of a part of a table of users, and what is asked for each row."""

from __future__ import annotations

import csv
from collections.abc import Sequence

import polars as pl

from tfrec_llm.data.columns import joined_text
from tfrec_llm.data.file_formats import LIST_END
from tfrec_llm.data.raw_table import RawTable

_BAD = "\x00bad history"


class UserRequests:
    """Takes text and history of each user.

    A history is a list of ids, oldest first, or a text of ids with commas between them; an id that
    holds a comma or a quote is quoted as in a CSV file. Rows where it cannot be read are set aside
    as `bad_history`.

    Args:
        history: the column of histories, None where there is none.
        text_columns: the columns of text, in order; may be empty.
    """

    def __init__(self, history: str | None, text_columns: Sequence[str]) -> None:
        self._history = history
        self._text_columns = list(text_columns)

    def __call__(self, raw: RawTable) -> list[tuple[str, list[str]]]:
        """Returns text and history of each row.

        Raises: DataError when a column is missing.
        """
        for column in self._text_columns:
            raw.require_column(column, "user_text")
        if self._history is not None:
            raw.require_column(self._history, "history")
            found = [parsed_ids(text) for text in raw.frame[self._history].to_list()]
            bad = pl.Series(_BAD, [ids is None for ids in found], pl.Boolean)
            raw.frame = raw.frame.with_columns(bad)
            raw.set_aside(pl.col(_BAD), "bad_history", f"`{self._history}` is no list of ids")
            histories = [ids for ids in found if ids is not None]
        else:
            histories = [[] for _ in range(raw.frame.height)]
        texts = (
            raw.frame.select(joined_text(self._text_columns)).to_series().to_list()
            if self._text_columns
            else [""] * raw.frame.height
        )
        return list(zip(texts, histories, strict=True))


def parsed_ids(text: str) -> list[str] | None:
    """Returns the ids of a history, None where quotes do not fit.

    Example:
        >>> parsed_ids('dune, "Paris, Texas"'), parsed_ids(""), parsed_ids('"dune')
        (['dune', 'Paris, Texas'], [], None)
    """
    if LIST_END in text:
        return [part for part in text.split(LIST_END) if part]
    try:
        rows = list(csv.reader([text], skipinitialspace=True, strict=True))
    except csv.Error:
        return None
    return [cell.strip() for row in rows for cell in row if cell.strip()]
