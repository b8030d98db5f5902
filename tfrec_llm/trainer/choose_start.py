"""Tries a few starts on the validation set: closed forms, a second or two each."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from tfrec_llm.models.two_tower_model import TwoTowerModel
from tfrec_llm.progress import Progress, Silent
from tfrec_llm.towers.starts import (
    ClickFactors,
    ItemTowerStart,
    start_item_tower,
    tells_texts_apart,
)

TEXT_SHARES = (0.2, 0.4, 0.6)
POWERS = (0.25, 0.5)


@dataclass(frozen=True)
class ChosenStart:
    """Settings of a start.

    Attributes:
        text_share: float in [0, 1], see `start_item_tower`; None where the start is random.
        power: float in [0, 1], see `start_item_tower`; None where the start is random.
        validation_ndcg: float, NDCG@10 of the untrained model.
    """

    text_share: float | None
    power: float | None
    validation_ndcg: float


def choose_start(
    model: TwoTowerModel,
    factors: ClickFactors,
    corpus_features: np.ndarray,
    evaluate: Callable[[], float],
    *,
    text_share: float | None = None,
    make_start: Callable[[float, float], ItemTowerStart] | None = None,
    progress: Progress | None = None,
) -> ChosenStart:
    """Sets a model to the start with the best validation NDCG@10 and says which one it was.

    Args:
        model: `TwoTowerModel`; left at the chosen start.
        factors: `ClickFactors` of the training part.
        corpus_features: float32 `(num_items, feature_dim)`, one vector a text.
        evaluate: returns the validation NDCG@10 of the model as it stands.
        text_share: float in [0, 1] to keep it, None to choose it as well.
        make_start: text share and power → start; None takes `start_item_tower`.
        progress: listener.

    Returns: `ChosenStart`.
    """
    progress = progress or Silent()

    def closed_form(share: float, power: float) -> ItemTowerStart:
        return start_item_tower(
            factors,
            corpus_features,
            model.item_tower.embedding_dim,
            text_share=share,
            power=power,
        )

    make_start = make_start or closed_form
    best, settings = ChosenStart(None, None, -math.inf), (0.0, 0.0)
    if not tells_texts_apart(corpus_features):
        text_share = 0.0
    shares = (text_share,) if text_share is not None else TEXT_SHARES
    grid = [(share, power) for power in POWERS for share in shares]
    for done, (share, power) in enumerate(grid, start=1):
        model.set_start(make_start(share, power))
        tried = ChosenStart(share, power, evaluate())
        if tried.validation_ndcg > best.validation_ndcg:
            best, settings = tried, (share, power)
        progress.advance(
            "choose start", done, len(grid), f"best NDCG@10 {best.validation_ndcg:.4f}"
        )
    model.set_start(make_start(*settings))
    return best
