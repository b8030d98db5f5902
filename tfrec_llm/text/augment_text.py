"""A text with parts left out or moved: more readings of one item, for training on little data."""

from __future__ import annotations

import random
import re
from collections.abc import Sequence

from tfrec_llm.seeds import child_seed

_CJK = "\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003134f"
_TOKEN = re.compile(rf"(\s*)([{_CJK}]|[^\s{_CJK}]+)")
_SENTENCE = re.compile(r"[^.!?。！？]*[.!?。！？]+[\s]*|[^.!?。！？]+$")
_FINAL_MARKS = (".", "!", "?", "。", "！", "？")


def augment_text(
    text: str,
    *,
    seed: int,
    item_id: str,
    copy: int,
    title: str = "",
    token_dropout: float = 0.1,
    span_deletion: float = 0.2,
    swap_fields: bool = True,
) -> str:
    """Returns one augmented copy of a text; the same arguments always give the same copy.

    In this order: in every other copy, by lot, the title changes places with what follows it
    (where there is no title, a random first part of the sentences goes to the end); one span of
    tokens is cut; single tokens are left out. Tokens are words, and single characters of Chinese
    and Japanese. Spaces between those that stay are kept.

    Args:
        text: what is augmented.
        seed: int, of the run.
        item_id: whose text it is; with `seed` and `copy` it seeds what is drawn.
        copy: int, number of the copy.
        title: the first text column, with which `text` begins; "" where there is none.
        token_dropout: float in [0, 1), chance of each token to be left out.
        span_deletion: float in [0, 1), share of the tokens cut in one span.
        swap_fields: bool.

    Returns: a text that is not empty, except for one that had no token.
    Raises: ValueError when a share is out of bounds.

    Example:
        >>> text = "Dune. Sand, spice and a young duke on a desert planet."
        >>> augment_text(text, seed=7, item_id="b1", copy=1, title="Dune")
        'Sand, a duke on a desert planet. Dune'
        >>> augment_text(text, seed=7, item_id="b1", copy=2, title="Dune")
        'Dune. Sand, spice and a on desert planet.'

    Reference: Wei and Zou, 2019, EDA: Easy Data Augmentation, arXiv:1901.11196
    """
    for name, share in (("token_dropout", token_dropout), ("span_deletion", span_deletion)):
        if not 0.0 <= share < 1.0:
            raise ValueError(f"`{name}` must lie in [0, 1), got {share}. Pass 0 to leave it out.")
    draw = random.Random(child_seed(seed, "augmented text", item_id, copy)).random
    is_swapped, first_share = draw() < 0.5, draw()
    if swap_fields and is_swapped:
        text = _swapped(text, title, first_share)
    tokens = _TOKEN.findall(text)
    if not tokens:
        return text
    length = min(round(span_deletion * len(tokens)), len(tokens) - 1)
    begin = int(draw() * (len(tokens) - length + 1))
    tokens = tokens[:begin] + tokens[begin + length :]
    kept = [token for token in tokens if draw() >= token_dropout]
    kept = kept or [tokens[int(draw() * len(tokens))]]
    return "".join(gap + word for gap, word in kept).strip()


def augment_texts(
    texts: Sequence[str],
    item_ids: Sequence[str],
    *,
    copies: int,
    seed: int,
    titles: Sequence[str] | None = None,
    token_dropout: float = 0.1,
    span_deletion: float = 0.2,
    swap_fields: bool = True,
) -> list[str]:
    """Returns all copies of all texts, see `augment_text`.

    A copy depends on the seed and its own item alone, not on which other items there are.

    Args:
        texts: n str.
        item_ids: n str, unique.
        copies: int, of each text.
        seed: int, of the run.
        titles: n str, the first text columns, or None.
        token_dropout: float in [0, 1).
        span_deletion: float in [0, 1).
        swap_fields: bool.

    Returns: `copies * n` str: the first copy of each text in order, then the second, and so on.
    Raises: ValueError when sizes differ or a share is out of bounds.

    Example:
        >>> augment_texts(["Dune", "Emma"], ["b1", "b2"], copies=2, seed=7)
        ['Dune', 'Emma', 'Dune', 'Emma']
    """
    titles = [""] * len(texts) if titles is None else titles
    if not len(texts) == len(item_ids) == len(titles):
        raise ValueError(
            f"`texts`, `item_ids` and `titles` must be of one size, got {len(texts)}, "
            f"{len(item_ids)} and {len(titles)}."
        )
    return [
        augment_text(
            text,
            seed=seed,
            item_id=item_id,
            copy=copy,
            title=title,
            token_dropout=token_dropout,
            span_deletion=span_deletion,
            swap_fields=swap_fields,
        )
        for copy in range(1, copies + 1)
        for text, item_id, title in zip(texts, item_ids, titles, strict=True)
    ]


def _swapped(text: str, title: str, first_share: float) -> str:
    """Returns the text with its fields, or its sentences, in another order."""
    if title and text.startswith(title):
        rest = text[len(title) :]
        rest = (rest[1:] if not title.endswith(_FINAL_MARKS) else rest).strip()
        return _joined(rest, title) if rest else text
    sentences = _SENTENCE.findall(text)
    if len(sentences) < 2:
        return text
    first = 1 + int(first_share * (len(sentences) - 1))
    return _joined("".join(sentences[first:]).strip(), "".join(sentences[:first]).strip())


def _joined(first: str, second: str) -> str:
    gap = " " if first.endswith(_FINAL_MARKS) or not first else ". "
    return first + gap + second
