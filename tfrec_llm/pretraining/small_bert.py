"""A BERT of any size, untrained, the same for the same seed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from tfrec_llm.errors import UsageError
from tfrec_llm.pretraining.seeded_weights import seed_dropouts, start_weights


def small_bert(
    vocabulary: Sequence[str],
    *,
    num_layers: int = 2,
    dim: int = 128,
    num_heads: int = 2,
    max_tokens: int = 64,
    dropout: float = 0.1,
    seed: int = 7,
) -> tuple[Any, Any]:
    """Makes a lower-casing tokenizer and a BERT backbone with seeded random weights.

    Args:
        vocabulary: tokens, as `word_pieces` gives them.
        num_layers: int ≥ 1.
        dim: int, width of the vectors; the feed-forward layers have four times as many.
        num_heads: int, divides `dim`.
        max_tokens: int ≥ 4, most tokens that it reads.
        dropout: float in [0, 1).
        seed: int.

    Returns: keras-nlp tokenizer and backbone.
    Raises: UsageError when the shape is none.

    Example:
        >>> tokenizer, backbone = small_bert(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "a"])
        >>> tokenizer.vocabulary_size(), backbone.hidden_dim
        (6, 128)
    """
    from tfrec_llm.keras_api import keras_nlp

    if num_layers < 1 or dim < 2 or num_heads < 1 or max_tokens < 4:
        raise UsageError(
            "`num_layers` and `num_heads` must be at least 1, `dim` 2 and `max_tokens` 4, got "
            f"{num_layers}, {num_heads}, {dim} and {max_tokens}"
        )
    if dim % num_heads:
        raise UsageError(
            f"`dim` must be a multiple of `num_heads`, got {dim} and {num_heads}. "
            f"Take a width such as {num_heads * max(1, round(dim / num_heads))}."
        )
    tokenizer = keras_nlp.models.BertTokenizer(vocabulary=list(vocabulary), lowercase=True)
    backbone = keras_nlp.models.BertBackbone(
        vocabulary_size=len(vocabulary),
        num_layers=num_layers,
        num_heads=num_heads,
        hidden_dim=dim,
        intermediate_dim=4 * dim,
        dropout=dropout,
        max_sequence_length=max_tokens,
    )
    start_weights(backbone.weights, seed)
    seed_dropouts(backbone, seed)
    return tokenizer, backbone


def num_parameters(backbone: Any) -> int:
    """Returns the number of weights of a backbone."""
    return int(sum(np.prod(weight.shape) for weight in backbone.weights))
