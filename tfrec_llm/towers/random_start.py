"""A start that knows nothing: the plain way, to compare the closed-form one with."""

from __future__ import annotations

import numpy as np

from tfrec_llm.seeds import child_generator
from tfrec_llm.towers.starts import ItemTowerStart

_ID_SCALE = 0.02  # BERT's; larger vectors turn more slowly under steps of one size


def random_start(
    num_clicks: np.ndarray, text_features: np.ndarray, embedding_dim: int, seed: int
) -> ItemTowerStart:
    """Draws the text map and the id parts at random.

    The text map is drawn so that the text part has a length of about 1, the id parts with a
    deviation of 0.02; items without clicks have none, as in the closed-form start.

    Args:
        num_clicks: int `(num_items,)`, in training.
        text_features: float32 `(num_items, feature_dim)`, one vector a text.
        embedding_dim: int, width of the tower.
        seed: int.

    Returns: `ItemTowerStart`.

    Example:
        >>> start = random_start(np.array([3, 0]), np.eye(2, dtype=np.float32), 4, seed=7)
        >>> start.kernel.shape, start.id_table.any(axis=1).tolist()
        ((2, 4), [True, False])
    """
    generator = child_generator(seed, "random start")
    norms = np.linalg.norm(text_features, axis=1, keepdims=True)
    centre = (text_features / np.where(norms > 1e-12, norms, 1.0)).mean(axis=0)
    kernel = generator.normal(size=(text_features.shape[1], embedding_dim)) * embedding_dim**-0.5
    ids = generator.normal(size=(len(num_clicks), embedding_dim)) * _ID_SCALE
    return ItemTowerStart(
        centre=centre.astype(np.float32),
        kernel=kernel.astype(np.float32),
        bias=np.zeros(embedding_dim, np.float32),
        id_table=np.where(num_clicks[:, None] > 0, ids, 0.0).astype(np.float32),
    )
