"""What is asked of a server, and what it answers, without its API."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tfrec_llm.errors import UsageError

Scored = list[tuple[str, float]]
"""Item ids with their scores, best first; fewer than k where fewer remain."""

Predict = Callable[[str, Mapping[str, Any]], Mapping[str, Any]]
"""A signature and its inputs as nested lists → its outputs as nested lists of str and float."""


@dataclass(frozen=True)
class Query:
    """What is known of one user.

    Attributes:
        text: str, anything about the user or what they look for.
        history: ids of items that they took, oldest first.
        exclude: ids of more items that shall not be recommended.
        history_times: int, when each item of the history was taken, in seconds since 1970, 0 where
            that is not known; empty: of none it is. For exports of a model with time gaps.

    Raises: UsageError when a list of ids is one string, or there is not one time for each item.
    """

    text: str = ""
    history: Sequence[str] = ()
    exclude: Sequence[str] = ()
    history_times: Sequence[int] = ()

    def __post_init__(self) -> None:
        for name in ("history", "exclude"):
            if isinstance(getattr(self, name), str):
                raise UsageError(
                    f"`{name}` must be a list of item ids, got one string {getattr(self, name)!r}."
                )
        if len(self.history_times) not in (0, len(self.history)):
            raise UsageError(
                f"`history_times` must hold one time for each of the {len(self.history)} items of "
                f"the history, got {len(self.history_times)}. Give 0 where a time is not known."
            )


class Questions:
    """The questions that a client of either API can ask.

    Args:
        predict: sends a request.
    """

    def __init__(self, predict: Predict) -> None:
        self._predict = predict

    def recommend(
        self,
        text: str = "",
        history: Sequence[str] = (),
        exclude: Sequence[str] = (),
        k: int = 10,
        history_times: Sequence[int] = (),
    ) -> Scored:
        """Recommends items to one user.

        Args:
            text: str, anything about the user or what they look for; may be empty.
            history: ids of items that they took, oldest first.
            exclude: ids of more items that shall not be recommended.
            k: int >= 1, how many items; at most the `max_k` of the export come.
            history_times: int, see `Query`.

        Returns: pairs of an item id and its score, best first.

        Raises:
            UsageError: when a list of ids is one string, or there is not one time for each item.
            RequestError: when the server refuses the request.
            UnavailableError: when the server cannot be reached or is too slow.
        """
        return self.batch([Query(text, history, exclude, history_times)], k)[0]

    def batch(self, queries: Sequence[Query], k: int = 10) -> list[Scored]:
        """Recommends items to many users in one request.

        Args:
            queries: one for each user.
            k: int >= 1, how many items for each.

        Returns: a list for each query.

        Raises: as `recommend`.
        """
        if not queries:
            return []
        inputs: dict[str, Any] = {
            "user_text": [query.text for query in queries],
            "history": _padded([query.history for query in queries]),
            "exclude_ids": _padded([query.exclude for query in queries]),
            "k": k,
        }
        if not any(query.history_times for query in queries):
            return _scored(self._predict("recommend", inputs))
        inputs["history_times"] = [
            [*query.history_times, *[0] * (len(row) - len(query.history_times))]
            for query, row in zip(queries, inputs["history"], strict=True)
        ]
        return _scored(self._predict("recommend_timed", inputs))

    def similar(self, item_id: str, k: int = 10) -> Scored:
        """Finds the items that are most like an item.

        Args:
            item_id: str.
            k: int >= 1, how many items.

        Returns: pairs of an item id and its score, best first; none for an unknown item.

        Raises: as `recommend`.
        """
        return _scored(self._predict("similar_items", {"item_ids": [item_id], "k": k}))[0]


def _padded(rows: Sequence[Sequence[str]]) -> list[list[str]]:
    width = max(map(len, rows))
    return [[*row, *[""] * (width - len(row))] for row in rows]


def _scored(answer: Mapping[str, Any]) -> list[Scored]:
    rows = zip(answer["item_ids"], answer["scores"], strict=True)
    return [
        [(item_id, score) for item_id, score in zip(ids, scores, strict=True) if item_id]
        for ids, scores in rows
    ]
