"""What can be turned when a list is made, checked."""

from __future__ import annotations

import math
from dataclasses import dataclass

from tfrec_llm.errors import UsageError

METHODS = ("mmr", "dpp")


@dataclass(frozen=True)
class Knobs:
    """How far a list may leave the order of the scores, and for what.

    Attributes:
        diversity: float in [0, 1], weight of unlikeness; 0 leaves the order alone. Defaults to 0.
        method: `mmr`, unlike the nearest item that is listed already (the default), or `dpp`,
            unlike all of them together.
        popularity_penalty: float >= 0: how much of the whole range of scores the most popular
            item of the corpus loses against the least popular one. Defaults to 0.
        max_per_category: int >= 1, the most items of one category; None, the default, for no
            limit.

    Raises: UsageError when a value is out of range.

    Example:
        >>> Knobs(diversity=0.3).is_turned, Knobs().is_turned
        (True, False)
    """

    diversity: float = 0.0
    method: str = "mmr"
    popularity_penalty: float = 0.0
    max_per_category: int | None = None

    def __post_init__(self) -> None:
        if not 0.0 <= self.diversity <= 1.0:
            raise UsageError(
                f"`diversity` must lie between 0 (the order of the scores) and 1 (unlikeness "
                f"alone), got {self.diversity}. Start with 0.3."
            )
        if self.method not in METHODS:
            raise UsageError(
                f"The diversity method must be one of {', '.join(METHODS)}, got {self.method!r}."
            )
        if not (self.popularity_penalty >= 0.0 and math.isfinite(self.popularity_penalty)):
            raise UsageError(
                f"`popularity_penalty` must be 0 or more, got {self.popularity_penalty}. At 1 the "
                "most popular item loses as much as lies between the best and the last candidate."
            )
        if self.max_per_category is not None and self.max_per_category < 1:
            raise UsageError(
                f"`max_per_category` must be at least 1, got {self.max_per_category}. Leave it out "
                "for no limit."
            )

    @property
    def is_turned(self) -> bool:
        """Returns whether a list could differ from the order of the scores."""
        return (
            self.diversity > 0.0
            or self.popularity_penalty > 0.0
            or self.max_per_category is not None
        )

    def check_categories(self, are_given: bool) -> None:
        """Raises a UsageError where a limit comes without categories, or these without it."""
        if are_given != (self.max_per_category is not None):
            raise UsageError(
                "`max_per_category` and `categories` belong together: give both, or neither."
            )
