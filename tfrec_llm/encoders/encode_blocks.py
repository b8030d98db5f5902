"""Many texts through an encoder's graph, block by block."""

from __future__ import annotations

from typing import Any

import numpy as np

from tfrec_llm.encoders.word_vocabulary import BLOCK_TEXTS, string_tensor
from tfrec_llm.errors import UsageError
from tfrec_llm.progress import Progress, Silent


def encode_blocks(
    encoder: Any, texts: list[str], *, batch_size: int = 32, progress: Progress | None = None
) -> np.ndarray:
    """Encodes texts with `encoder.embed`, for encoders that are quick.

    Args:
        encoder: an `Encoder`.
        texts: list of n str.
        batch_size: int ≥ 1. Blocks are of 1024 texts, or of `batch_size` where it is more.
        progress: told after each block.

    Returns: float32 `(n, dim)` in the order of `texts`; with `num_tokens` set float16
        `(n, num_tokens, dim)`.
    Raises: UsageError when `batch_size` is below 1.
    """
    if batch_size < 1:
        raise UsageError(f"`batch_size` must be at least 1, got {batch_size!r}")
    progress = progress or Silent()
    step = max(batch_size, BLOCK_TEXTS)
    if encoder.num_tokens is None:
        features = np.zeros((len(texts), encoder.dim), np.float32)
    else:
        features = np.zeros((len(texts), encoder.num_tokens, encoder.dim), np.float16)
    for first in range(0, len(texts), step):
        block = np.asarray(encoder.embed(string_tensor(texts[first : first + step])))
        rows = features[first : first + len(block)]
        if encoder.num_tokens is not None:
            rows = rows[:, : block.shape[1]]
        rows[...] = block
        progress.advance("encode texts", first + len(block), len(texts))
    return features
