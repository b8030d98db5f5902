"""What every encoder of texts offers: language models and plain encodings of words alike."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from tfrec_llm.progress import Progress


class Encoder(Protocol):
    """Turns texts into features, eagerly and in a served graph.

    It is a `tf.Module` that tracks the tables and variables of its graph.

    Attributes:
        dim: int, width of the features.
        num_tokens: None for one vector a text. Otherwise the features are token vectors, at most
            so many a text, zeros where there is no token, for a pooling that is learned later.
        name: str, for people.
    """

    dim: int

    @property
    def num_tokens(self) -> int | None:
        """Most token vectors of a text, None for one vector a text."""

    @property
    def name(self) -> str:
        """Name for reports."""

    @property
    def variables(self) -> Sequence[Any]:
        """The weights as `tf.Variable`s."""

    @property
    def fingerprint(self) -> str:
        """Hex digest of all that shapes the features, equal in every process."""

    def embed(self, texts: Any) -> Any:
        """Encodes in the graph: string `(batch,)` → float32 `(batch, dim)`.

        With `num_tokens` set `(batch, tokens, dim)`.
        """

    def encode(
        self, texts: list[str], *, batch_size: int = 32, progress: Progress | None = None
    ) -> np.ndarray:
        """Encodes n texts: float32 `(n, dim)`; with `num_tokens` float16 `(n, tokens, dim)`."""

    def save(self, folder: str | Path) -> None:
        """Writes a self-contained folder with an `encoder.json` that holds its `kind`."""
