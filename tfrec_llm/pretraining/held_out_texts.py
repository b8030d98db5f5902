"""A corpus → texts to train on and texts to measure by, none of them twice."""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence

from tfrec_llm.errors import DataError
from tfrec_llm.seeds import child_generator

MIN_TEXTS = 10
MAX_HELD_OUT = 5000


def held_out_texts(
    texts: Sequence[str], share: float = 0.1, seed: int = 7
) -> tuple[list[str], list[str]]:
    """Splits texts, each distinct text counted once.

    Texts that differ in case, white space or Unicode form alone are the same text, of which the
    first is kept; so what is held out is never trained on. Empty texts are left out.

    Args:
        texts: str each.
        share: float in (0, 1), of the distinct texts that are held out: one at least, and
            `MAX_HELD_OUT` at most, which measure finely enough.
        seed: int.

    Returns: the training texts and the held-out texts, both in the order of `texts`.
    Raises: DataError when fewer than `MIN_TEXTS` distinct texts are left.

    Example:
        >>> train, held_out = held_out_texts([f"text {n % 12}" for n in range(30)])
        >>> len(train), len(held_out)
        (11, 1)
    """
    first: dict[str, str] = {}
    for text in texts:
        if key := _key(text):
            first.setdefault(key, text)
    kept = list(first.values())
    if len(kept) < MIN_TEXTS:
        raise DataError(
            f"The corpus has {len(kept)} distinct texts that are not empty (of {len(texts)}), and "
            f"at least {MIN_TEXTS} are needed. Give more texts; a language model learns little "
            "from fewer than some hundred."
        )
    num_held_out = min(max(1, round(len(kept) * share)), MAX_HELD_OUT, len(kept) - 1)
    order = child_generator(seed, "held-out texts").permutation(len(kept))
    chosen = set(order[:num_held_out].tolist())
    train = [text for row, text in enumerate(kept) if row not in chosen]
    return train, [text for row, text in enumerate(kept) if row in chosen]


def _key(text: str) -> str:
    return " ".join(unicodedata.normalize("NFKC", text).casefold().split())
