"""Asks again, a little later each time, while a server cannot be reached."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from typing import TypeVar

from tfrec_llm.errors import UnavailableError

T = TypeVar("T")
_FIRST_WAIT, _LONGEST_WAIT = 0.1, 5.0


class NotThere(Exception):
    """The server is not there, or too busy, for now; its text says how that showed."""


def with_retries(
    ask: Callable[[], T],
    address: str,
    retries: int,
    wait: Callable[[float], None] = time.sleep,
) -> T:
    """Calls `ask` until it does not raise `NotThere`.

    Args:
        ask: the request.
        address: of the server, for the message.
        retries: int >= 0, calls after the first.
        wait: takes seconds; about twice as long each time, by chance a little more or less, so
            that many clients do not come back at once.

    Returns: what `ask` does.

    Raises: UnavailableError after the last call.

    Example:
        >>> answers = [1]
        >>> with_retries(answers.pop, "server", retries=0)
        1
    """
    for number in range(retries + 1):
        try:
            return ask()
        except NotThere as error:
            if number == retries:
                raise UnavailableError(
                    f"{address} cannot be reached, or is too busy ({error}), after {retries + 1} "
                    "tries. See that the server runs and that the address is right."
                ) from error
        wait(min(_LONGEST_WAIT, _FIRST_WAIT * 2**number) * random.uniform(0.5, 1.5))
    raise AssertionError("the last call returns or raises")
