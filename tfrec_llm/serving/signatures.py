"""Names, dtypes and shapes of the requests and answers of exports."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Tensor:
    """One input or output: its dtype, and its shape with None for any size.

    Attributes:
        dtype: str, as TensorFlow spells it.
        shape: int or None each. `()` is a scalar.
    """

    dtype: str
    shape: tuple[int | None, ...]


@dataclass(frozen=True)
class Signature:
    """One way to ask an export.

    Attributes:
        inputs: tensors by name, in order.
        outputs: names of the tensors of the answer.
    """

    inputs: dict[str, Tensor]
    outputs: tuple[str, ...]


_TEXTS = Tensor("string", (None,))
_LISTS = Tensor("string", (None, None))  # rows of any width, padded with ""
_K = Tensor("int32", ())
_RANKED = ("item_ids", "scores")
_EMBEDDED = ("embeddings",)
_USERS = {"user_text": _TEXTS, "history": _LISTS}

SIGNATURES: dict[str, Signature] = {
    "serving_default": Signature(_USERS, _RANKED),
    "recommend": Signature({**_USERS, "exclude_ids": _LISTS, "k": _K}, _RANKED),
    "similar_items": Signature({"item_ids": _TEXTS, "k": _K}, _RANKED),
    "encode_users": Signature(_USERS, _EMBEDDED),
    "encode_items": Signature({"item_ids": _TEXTS, "item_text": _TEXTS}, _EMBEDDED),
    "serve_examples": Signature({"examples": _TEXTS}, _RANKED),
}
"""What every export answers."""

RANKER_SIGNATURES: dict[str, Signature] = {
    "rank": Signature({**_USERS, "item_ids": _LISTS}, ("scores",)),
    "recommend_reranked": SIGNATURES["recommend"],
}
"""What an export with a ranker answers too."""

TIME_SIGNATURES: dict[str, Signature] = {
    "recommend_timed": Signature(
        {
            **_USERS,
            "history_times": Tensor("int64", (None, None)),  # seconds since 1970, 0: unknown
            "exclude_ids": _LISTS,
            "k": _K,
        },
        _RANKED,
    ),
}
"""What an export of a model with time gaps answers too."""

ALL_SIGNATURES = SIGNATURES | RANKER_SIGNATURES | TIME_SIGNATURES
