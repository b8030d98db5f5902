"""What every model that retrieves offers, whatever way it was learned."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np


class RetrievalModel(Protocol):
    """Users and items in one space; a dot product says how well they fit.

    Item vectors may have any length: nothing that follows may take them for unit vectors.

    Attributes:
        kind: str, the name of the model in a configuration and in reports.
        embedding_dim: int, width of the vectors.
        feature_dim: int, width of the text features.
        max_history: int, the most items of a history that are used.
    """

    kind: str
    embedding_dim: int
    feature_dim: int

    @property
    def max_history(self) -> int:
        """Returns how many of the most recent items of a history are used."""

    @property
    def time_gaps(self) -> bool:
        """Returns whether `embed_users` also takes gaps, int32 `(B, H)`, see `time_gaps`."""

    @property
    def variables(self) -> Sequence[Any]:
        """Returns all Keras variables: what a checkpoint holds."""

    @property
    def trainable_variables(self) -> Sequence[Any]:
        """Returns the Keras variables that training changes."""

    @property
    def served_variables(self) -> Sequence[Any]:
        """Returns the Keras variables that embed users and items: what a trained model keeps."""

    def embed_items(self, text_features: Any, item_numbers: Any) -> Any:
        """Embeds items: float32 `(n, F)` and int32 `(n,)`, -1 unknown → float32 `(n, D)`."""

    def embed_users(
        self, history_embeddings: Any, history_mask: Any, text_features: Any, text_mask: Any
    ) -> Any:
        """Embeds users: `(B, H, D)`, bool `(B, H)`, `(B, F)`, bool `(B,)` → float32 `(B, D)`."""

    def embed_corpus(
        self, text_features: np.ndarray, is_new: np.ndarray | None = None, batch_size: int = 4096
    ) -> np.ndarray:
        """Embeds a corpus whose item number is its row; call it before `embed_users`.

        Items that are new, bool `(num_items,)`, are known by their text alone.
        """

    @property
    def similarity_mask(self) -> np.ndarray:
        """Returns float32 `(D,)`, 1 for what likeness of two items is made of, else 0."""

    def training_loss(self, batch: dict[str, Any]) -> Any:
        """Returns the loss of one batch, float32 scalar."""
