"""What is checked of a part of a table of items, and the text of each row."""

from __future__ import annotations

from collections.abc import Sequence

from tfrec_llm.data.columns import joined_text
from tfrec_llm.data.raw_table import RawTable


class ItemTexts:
    """Joins text columns as the table of items of a training does.

    Args:
        text_columns: the columns of text, in order.
    """

    def __init__(self, text_columns: Sequence[str]) -> None:
        self._text_columns = list(text_columns)

    def __call__(self, raw: RawTable) -> list[str]:
        """Returns the text of each row.

        Raises: DataError when a column is missing.
        """
        for column in self._text_columns:
            raw.require_column(column, "item_text")
        texts: list[str] = raw.frame.select(joined_text(self._text_columns)).to_series().to_list()
        return texts
