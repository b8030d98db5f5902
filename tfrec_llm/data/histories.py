"""Interactions → what each user took, in order."""

from __future__ import annotations

import numpy as np

from tfrec_llm.data.shards.streamed_interactions import Interactions, as_frame


def histories_of(interactions: Interactions) -> list[np.ndarray]:
    """Returns int32 arrays of item numbers, oldest first, users in the order of their ids.

    Args:
        interactions: frame of `user_id`, `item_number`, `position`, or streamed ones.

    Raises: DataError when there are too many for the memory.

    Example:
        >>> import polars as pl
        >>> rows = {"user_id": ["v", "u", "u"], "item_number": [3, 1, 2], "position": [0, 1, 0]}
        >>> [history.tolist() for history in histories_of(pl.DataFrame(rows))]
        [[2, 1], [3]]
    """
    grouped = (
        as_frame(interactions)
        .sort("user_id", "position")
        .group_by("user_id", maintain_order=True)
        .agg("item_number")["item_number"]
    )
    return [np.asarray(items, dtype=np.int32) for items in grouped.to_list()]
