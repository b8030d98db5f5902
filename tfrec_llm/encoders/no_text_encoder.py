"""No text at all: the same constant for every text."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import numpy as np

from tfrec_llm.encoders.encode_blocks import encode_blocks
from tfrec_llm.encoders.encoder_folder import new_encoder_folder, read_encoder_folder
from tfrec_llm.keras_api import tf
from tfrec_llm.progress import Progress


class NoTextEncoder(tf.Module):
    """Gives every text the one feature 1, so that towers learn from item ids alone.

    It is the row of a comparison that says what the text is worth.

    Example:
        >>> NoTextEncoder().encode(["space opera", ""]).tolist()
        [[1.0], [1.0]]
    """

    dim = 1
    num_tokens = None

    def __init__(self) -> None:
        super().__init__(name="none")

    @property
    def variables(self) -> list[Any]:
        """None: an empty list."""
        return []

    @property
    def fingerprint(self) -> str:
        """Hex sha256, the same everywhere."""
        return hashlib.sha256(b"no text 1").hexdigest()

    def embed(self, texts: Any) -> Any:
        """Encodes a tensor of texts: string `(batch,)` → float32 `(batch, 1)`, ones."""
        return tf.ones([tf.shape(texts)[0], 1], tf.float32)

    def encode(
        self, texts: list[str], *, batch_size: int = 32, progress: Progress | None = None
    ) -> np.ndarray:
        """Encodes many texts: float32 `(n, 1)`."""
        return encode_blocks(self, texts, batch_size=batch_size, progress=progress)

    def save(self, folder: str | Path) -> None:
        """Writes a folder with an `encoder.json`.

        Raises: UsageError when the folder holds something.
        """
        with new_encoder_folder(folder, "none"):
            pass

    @classmethod
    def load(cls, folder: str | Path) -> NoTextEncoder:
        """Reads what `save` wrote.

        Raises: EncoderError when the folder is none.
        """
        read_encoder_folder(folder, "none")
        return cls()
