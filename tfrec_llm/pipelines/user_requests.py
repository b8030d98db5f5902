"""A dataset → one request a user, for recommendations in bulk."""

from __future__ import annotations

from typing import Any

from tfrec_llm.data.schema import Dataset


def user_requests(dataset: Dataset) -> list[dict[str, Any]]:
    """Returns what is known of each user, as the signature `serve_examples` is asked.

    Args:
        dataset: the checked tables.

    Returns: a dict of `user_id`, `user_text` (str, may be empty) and `history` (list of item ids,
        oldest first) for each user with interactions or text, in the order of their ids.

    Example:
        >>> import polars as pl
        >>> from tfrec_llm.data.tables import read_tables
        >>> data = read_tables(
        ...     pl.DataFrame({"item_id": ["a", "b"], "title": ["Dune", "Emma"]}),
        ...     pl.DataFrame({"user_id": list("vvu"), "item_id": list("bab")}))
        >>> [(row["user_id"], row["history"]) for row in user_requests(data)]
        [('u', ['b']), ('v', ['b', 'a'])]
    """
    histories = (
        dataset.interactions.sort("user_id", "position")
        .group_by("user_id", maintain_order=True)
        .agg("item_id")
    )
    history_of = dict(histories.iter_rows())
    text_of = dict(dataset.users.select("user_id", "text").iter_rows())
    return [
        {
            "user_id": user_id,
            "user_text": text_of.get(user_id, ""),
            "history": history_of.get(user_id, []),
        }
        for user_id in sorted({*history_of, *text_of})
    ]
