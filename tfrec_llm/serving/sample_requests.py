"""A few requests to every signature: to check an export with, and to warm up a server."""

from __future__ import annotations

from collections.abc import Sequence

from tfrec_llm.serving.plain_tensors import Request

_WORDS = "a story of two friends"


def sample_requests(
    item_ids: Sequence[str],
    titles: Sequence[str],
    max_k: int,
    max_history: int,
    *,
    has_ranker: bool = False,
    has_times: bool = False,
) -> list[Request]:
    """Returns requests that together touch every signature and every kind of user.

    Args:
        item_ids: ids of the corpus, at least one.
        titles: a title for each.
        max_k: columns of `serving_default`.
        max_history: items of a history that the model sees.
        has_ranker: whether the signatures of a ranker are asked too.
        has_times: whether `recommend_timed` is asked too.

    Returns: pairs of a signature and its inputs, as nested lists.

    Example:
        >>> requests = sample_requests(["a"], ["A"], max_k=5, max_history=3)
        >>> sorted({name for name, _ in requests})[:3]
        ['encode_items', 'encode_users', 'recommend']
    """
    first, last = item_ids[0], item_ids[-1]
    text = next((title for title in titles if title.strip()), _WORDS)
    some = list(item_ids[:3])
    long = [*item_ids[: max_history + 2], "", last]
    histories = padded([[], [first], [*some, ""], ["no such item"]])
    users = {"user_text": [text, "", _WORDS, ""], "history": histories}
    one_text = {"user_text": [text], "history": [[""]]}
    one_history = {"user_text": [""], "history": [long]}
    nobody: dict[str, list[object]] = {"user_text": [""], "history": [[]]}
    requests: list[Request] = [
        ("serving_default", users),
        ("serving_default", one_text),
        ("serving_default", one_history),
        ("serving_default", nobody),
        ("recommend", {**users, "exclude_ids": padded([[], some, [last], some]), "k": 3}),
        ("recommend", {**one_text, "exclude_ids": [[""]], "k": max_k + 1}),
        ("similar_items", {"item_ids": [first, "no such item", last], "k": 3}),
        ("encode_users", users),
        (
            "encode_items",
            {
                "item_ids": [first, "no such item", last, ""],
                "item_text": ["", text, _WORDS, ""],
            },
        ),
        (
            "serve_examples",
            {"examples": [serialized_example(text, []), serialized_example("", some)]},
        ),
    ]
    if has_ranker:
        pairs = [[first, last], [last, ""], ["no such item", first], [first, first]]
        excluded = {"exclude_ids": padded([[], some, [last], some])}
        requests += [
            ("rank", {**users, "item_ids": pairs}),
            ("rank", {**one_history, "item_ids": [[]]}),
            ("recommend_reranked", {**users, **excluded, "k": 3}),
            ("recommend_reranked", {**one_text, "exclude_ids": [[""]], "k": max_k + 1}),
            ("recommend_reranked", {**nobody, "exclude_ids": [[]], "k": 2}),
        ]
    if has_times:
        hours = [1_700_000_000, 1_700_003_600, 1_700_090_000, 0]
        times = {"history_times": [hours[: len(row)] for row in histories]}
        some_out, none_out = {"exclude_ids": [[last]] * 4, "k": 3}, {"exclude_ids": [[]], "k": 2}
        requests += [
            ("recommend_timed", {**users, **times, **some_out}),
            ("recommend_timed", {**one_history, "history_times": [[0] * len(long)], **none_out}),
            ("recommend_timed", {**nobody, "history_times": [[]], **none_out}),
        ]
    return requests


def padded(rows: list[list[str]]) -> list[list[str]]:
    """Returns lists of one width, filled with "" at their end.

    Example:
        >>> padded([["a"], []])
        [['a'], ['']]
    """
    width = max(map(len, rows))
    return [row + [""] * (width - len(row)) for row in rows]


def serialized_example(user_text: str, history: Sequence[str]) -> bytes:
    """Returns one row of `serve_examples`.

    Args:
        user_text: str.
        history: ids, oldest first.
    """
    from tensorflow.core.example.example_pb2 import Example

    example = Example()
    features = example.features.feature
    features["user_text"].bytes_list.value.append(user_text.encode())
    features["history"].bytes_list.value.extend(item_id.encode() for item_id in history)
    return bytes(example.SerializeToString())
