"""A draw of users that needs no list of them: each has a number, made of seed and id."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import numpy as np

_LARGEST = 2.0**64


def user_draws(user_ids: Sequence[str], seed: int, purpose: str) -> np.ndarray:
    """Returns a number in [0, 1) for each user, evenly spread, the same in every process.

    Args:
        user_ids: n str.
        seed: int, of the run.
        purpose: str; numbers for other purposes are independent of these.

    Returns: float64 `(n,)`.

    Example:
        >>> draws = user_draws(["u", "v", "u"], 7, "cold users")
        >>> bool(draws[0] == draws[2]), bool(draws[0] == draws[1])
        (True, False)
    """
    begin = hashlib.blake2b(f"{seed}\x1f{purpose}\x1f".encode(), digest_size=8)
    numbers = np.empty(len(user_ids), np.uint64)
    for row, user_id in enumerate(user_ids):
        digest = begin.copy()
        digest.update(user_id.encode())
        numbers[row] = int.from_bytes(digest.digest(), "big")
    return numbers / _LARGEST
