"""The text part and the user tower of another run as the start of this one."""

from __future__ import annotations

from typing import Any

import numpy as np

from tfrec_llm.errors import UsageError
from tfrec_llm.models.two_tower_model import TwoTowerModel
from tfrec_llm.towers.starts import ClickFactors, ItemTowerStart

_MAX_WEIGHT = 20.0
_SHAPING = ("history_kind", "max_history", "num_layers", "num_heads", "time_gaps")


class StartFromRun:
    """Carries what a model learned on one data set over to another.

    What a text says of an item, and how a history becomes a user, are taken over as they are.
    Ids mean nothing elsewhere: the click vectors of the new items are turned (by an orthogonal
    map, the Procrustes solution) to where their texts already lie, and the id part is what is
    then missing. Items without clicks have the text part alone.

    Args:
        other: `TwoTowerModel`, trained elsewhere.
        other_fingerprint: str, of the encoder that it was trained with.
        run: str, what the other run is called in messages.

    Example:
        >>> from tfrec_llm.towers.item_tower import ItemTower
        >>> from tfrec_llm.towers.starts import factorise_clicks
        >>> from tfrec_llm.towers.user_tower import UserTower
        >>> other = TwoTowerModel(ItemTower(9, 4), UserTower("mean"), feature_dim=8)
        >>> model = TwoTowerModel(ItemTower(3, 4), UserTower("mean"), feature_dim=8)
        >>> transfer = StartFromRun(other, "same encoder", "runs/other")
        >>> transfer.apply(model, "same encoder")
        >>> factors = factorise_clicks([np.array([0, 1])], 3, num_factors=4)
        >>> start = transfer.item_tower_start(factors, np.eye(3, 8), text_share=0.2, power=0.25)
        >>> start.id_table.shape, start.id_table[2].tolist()
        ((3, 4), [0.0, 0.0, 0.0, 0.0])

    Reference: Schönemann, 1966, doi:10.1007/BF02289451 (the orthogonal map)
    """

    def __init__(self, other: TwoTowerModel, other_fingerprint: str, run: str) -> None:
        self.other = other
        self.other_fingerprint = other_fingerprint
        self.run = run

    def apply(self, model: TwoTowerModel, fingerprint: str) -> None:
        """Sets text part and user tower of a model to those of the other run.

        Args:
            model: `TwoTowerModel` of the same widths; its id part stays as it is.
            fingerprint: str, of the encoder that its features come from.

        Raises: UsageError when the encoder or a width is another one; nothing is set then.
        """
        if fingerprint != self.other_fingerprint:
            raise UsageError(
                f"train.start_from: {self.run} was trained on features of another encoder "
                f"({self.other_fingerprint[:12]}…, here {fingerprint[:12]}…), so its text part "
                "would read these features wrongly. Use its encoder and text settings (they stand "
                "in its config.yaml), or leave train.start_from out. Encodings of words are fitted "
                "on the texts of one data set and cannot be carried over."
            )
        wanted, found = _architecture(model), _architecture(self.other)
        differing = [
            f"{name} is {found[name]} there and {wanted[name]} here"
            for name in wanted
            if wanted[name] != found[name]
        ]
        if differing:
            raise UsageError(
                f"train.start_from: {self.run} has other towers: " + "; ".join(differing) + ". "
                "Set the section towers (and encoder.pooling) as in its config.yaml, or leave "
                "train.start_from out."
            )
        for target, source in zip(_variables(model), _variables(self.other), strict=True):
            target.assign(source.value)

    def item_tower_start(
        self,
        factors: ClickFactors,
        text_features: np.ndarray,
        *,
        text_share: float = 0.2,
        power: float = 0.25,
    ) -> ItemTowerStart:
        """Computes the start of the item tower: their text part, and ids from own clicks.

        Args:
            factors: `ClickFactors` of this data's training histories.
            text_features: float32 `(num_items, feature_dim)`, one vector a text.
            text_share: float in [0, 1], share of a clicked item's vector that stays at its text.
            power: float in [0, 1], eigenvalues count with this power, as in `start_item_tower`.

        Returns: `ItemTowerStart`.
        """
        projection = self.other.item_tower.text_projection
        text_part = np.asarray(projection(np.asarray(text_features, np.float32)), np.float64)
        clicked = factors.num_clicks > 0
        weights = np.minimum(factors.num_clicks, _MAX_WEIGHT).astype(np.float64)[:, None]
        texts = _unit_rows(text_part)
        clicks = _unit_rows(factors.vectors * factors.values**power)
        width = text_part.shape[1]
        clicks = np.pad(clicks, ((0, 0), (0, max(0, width - clicks.shape[1]))))
        left, _, right = np.linalg.svd((clicks * weights).T @ texts, full_matrices=False)
        joined = (1.0 - text_share) * (clicks @ left @ right) + text_share * texts
        # As long as the text parts of these items are, so that neither drowns the other.
        length = float(np.linalg.norm(text_part[clicked], axis=1).mean()) if clicked.any() else 0.0
        id_table = np.where(clicked[:, None], _unit_rows(joined) * length - text_part, 0.0)
        return ItemTowerStart(
            centre=np.asarray(projection.centre.value),
            kernel=np.asarray(projection.linear.kernel.value),
            bias=np.asarray(projection.linear.bias.value),
            id_table=id_table.astype(np.float32),
        )


def _architecture(model: TwoTowerModel) -> dict[str, Any]:
    """Returns all that must be equal for the weights to mean the same."""
    user_tower = model.user_tower.get_config()
    return {
        "the width of the features": model.feature_dim,
        "embedding_dim": model.item_tower.embedding_dim,
        "pooling": model.item_tower.pooling,
        **{name: user_tower[name] for name in _SHAPING},
        "the shape of the weights": [tuple(v.shape) for v in _variables(model)],
    }


def _variables(model: TwoTowerModel) -> list[Any]:
    """Returns the weights that are carried over; states of random draws stay."""
    tower = model.item_tower
    layers = [tower.text_pooling, tower.text_projection, model.user_tower]
    found = [v for layer in layers if layer is not None for v in layer.variables]
    return [v for v in found if "seed_generator" not in v.path]


def _unit_rows(vectors: np.ndarray) -> np.ndarray:
    norms = np.linalg.norm(vectors, axis=1, keepdims=True)
    return np.asarray(vectors / np.where(norms > 1e-12, norms, 1.0))
