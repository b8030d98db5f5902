"""Requests as a server gets them, in batches of the usual sizes."""

from __future__ import annotations

from collections.abc import Sequence

from tfrec_llm.serving.plain_tensors import Request
from tfrec_llm.serving.sample_requests import padded, serialized_example

BATCH_SIZES = (1, 8, 32)
_WORDS = "a story of two friends"
_LONGEST_HISTORY = 20


def warmup_requests(
    item_ids: Sequence[str],
    titles: Sequence[str],
    max_history: int,
    *,
    has_ranker: bool = False,
) -> list[Request]:
    """Returns one request of each batch size to every signature whose inputs all have rows.

    A batch holds users with a text, with a history, and with both; histories and texts are of
    different lengths, those of the corpus itself. For `recommend`, `recommend_reranked` and
    `similar_items` see `write_warmup`.

    Args:
        item_ids: ids of the corpus, at least one.
        titles: a title for each.
        max_history: items of a history that the model sees.
        has_ranker: whether the signature `rank` is asked too.

    Returns: pairs of a signature and its inputs, as nested lists.

    Example:
        >>> requests = warmup_requests(["a", "b"], ["A", ""], max_history=3)
        >>> [(name, len(inputs["history"])) for name, inputs in requests if "history" in inputs][:3]
        [('serving_default', 1), ('encode_users', 1), ('serving_default', 8)]
    """
    words = [title for title in titles if title.strip()] or [_WORDS]
    longest = max(1, min(max_history, _LONGEST_HISTORY, len(item_ids)))
    requests: list[Request] = []
    for size in BATCH_SIZES:
        rows = range(size)
        ids = [item_ids[row % len(item_ids)] for row in rows]
        texts = ["" if row % 3 == 1 else words[row % len(words)] for row in rows]
        histories = [[] if row % 3 == 2 else _some(item_ids, row, longest) for row in rows]
        users = {"user_text": texts, "history": padded(histories)}
        pairs = zip(texts, histories, strict=True)
        requests += [
            ("serving_default", users),
            ("encode_users", users),
            ("encode_items", {"item_ids": ids, "item_text": [words[r % len(words)] for r in rows]}),
            ("serve_examples", {"examples": [serialized_example(*pair) for pair in pairs]}),
        ]
        if has_ranker:
            candidates = [_some(item_ids, row, len(item_ids))[:10] for row in rows]
            requests.append(("rank", {**users, "item_ids": candidates}))
    return requests


def _some(item_ids: Sequence[str], row: int, most: int) -> list[str]:
    """Returns from 1 to `most` ids in a row, other ones for every row of a batch."""
    count = 1 + row % most if most < len(item_ids) else len(item_ids)
    return [item_ids[(row + place) % len(item_ids)] for place in range(count)]
