"""The poolings by name."""

from __future__ import annotations

from typing import Any

from tfrec_llm.fusion.attention_pooling import AttentionPooling
from tfrec_llm.fusion.first_token_pooling import FirstTokenPooling
from tfrec_llm.fusion.last_token_pooling import LastTokenPooling
from tfrec_llm.fusion.max_pooling import MaxPooling
from tfrec_llm.fusion.mean_pooling import MeanPooling
from tfrec_llm.fusion.recurrent_pooling import RecurrentPooling
from tfrec_llm.fusion.sif_pooling import SifPooling
from tfrec_llm.fusion.weighted_pooling import WeightedPooling
from tfrec_llm.fusion.word_embedding_pooling import WordEmbeddingPooling

FIXED_POOLINGS = ("mean", "cls", "max", "last", "sif")
LEARNED_POOLINGS = ("weighted", "attention", "lstm", "gru")

_WITHOUT_OPTIONS: dict[str, Any] = {
    "mean": MeanPooling,
    "cls": FirstTokenPooling,
    "max": MaxPooling,
    "last": LastTokenPooling,
    "sif": SifPooling,
    "weighted": WeightedPooling,
}


def make_pooling(name: str, heads: int = 4, **options: int) -> Any:
    """Makes a pooling layer, which keeps to float32 whatever the global dtype policy.

    Args:
        name: one of `FIXED_POOLINGS` or `LEARNED_POOLINGS`; `word_embedding` for word numbers.
        heads: int >= 1, of `attention`. Defaults to 4.
        options: `num_words`, `dim` and `seed` of `word_embedding`.

    Returns: a Keras layer from float `(batch, tokens, dim)` and a mask `(batch, tokens)` to float32
        `(batch, dim)`. `sif` takes the token ids as a third argument.

    Raises: ValueError when there is no such pooling.

    Example:
        >>> make_pooling("attention", heads=2).num_heads
        2
    """
    if name in _WITHOUT_OPTIONS:
        return _WITHOUT_OPTIONS[name](dtype="float32")
    if name == "attention":
        return AttentionPooling(heads, dtype="float32")
    if name in ("lstm", "gru"):
        return RecurrentPooling(name, dtype="float32")
    if name == "word_embedding":
        return WordEmbeddingPooling(**options, dtype="float32")
    names = ", ".join((*FIXED_POOLINGS, *LEARNED_POOLINGS))
    raise ValueError(f"`name` must be one of {names}, got {name!r}.")
