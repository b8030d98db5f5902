"""One seed in, independent named child seeds out."""

from __future__ import annotations

import hashlib

import numpy as np


def child_seed(seed: int, *names: object) -> int:
    """Returns a seed for one purpose, independent of the seeds of all other purposes.

    Args:
        seed: int, the seed of the run.
        *names: what the child seed is for, such as `"shuffle", epoch`.

    Returns: int in [0, 2**31).

    Example:
        >>> child_seed(7, "shuffle", 1) == child_seed(7, "shuffle", 1)
        True
        >>> child_seed(7, "shuffle", 1) == child_seed(7, "shuffle", 2)
        False
    """
    text = "\x1f".join([str(seed), *map(str, names)])
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:4], "big") >> 1


def child_generator(seed: int, *names: object) -> np.random.Generator:
    """Returns a NumPy generator seeded with `child_seed(seed, *names)`.

    Example:
        >>> bool(child_generator(7, "a").integers(9) == child_generator(7, "a").integers(9))
        True
    """
    return np.random.default_rng(child_seed(seed, *names))
