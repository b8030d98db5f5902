"""Where training starts: item vectors known before the first step.

Closed forms, in this order:

1. Click factors: the co-occurrences of items in histories, near ones counting more, are freed from
   half of their popularity and factorised. An item's row, scaled to unit length, is its
   collaborative vector.
2. Joined vectors: the collaborative vector beside the centred text vector, weighted so that the
   dot product of two items is (1 - share) · cosine of clicks + share · cosine of texts. They are
   rotated and cut to the width of the tower: the target vectors.
3. The text part is the ridge regression of the targets on the text features: what the text
   foretells of a vector. It is all that a new item has.
4. The id part is what is left, target - text part. Clicked items start at their target.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import scipy.sparse as sp
from scipy.sparse.linalg import eigsh

from tfrec_llm.towers.ridge import ridge_regression

_MAX_WEIGHT = 20.0
_POPULARITY_EXPONENT = 0.25
_GAP_DECAY = 0.9
MAX_GAP = 20


@dataclass(frozen=True)
class ItemTowerStart:
    """Weights that an item tower starts from.

    Attributes:
        centre: float32 `(feature_dim,)`, mean of the unit-length text features.
        kernel: float32 `(feature_dim, embedding_dim)`, text part: linear map.
        bias: float32 `(embedding_dim,)`, text part: offset.
        id_table: float32 `(num_items, embedding_dim)`, id parts; zeros for items without clicks.
    """

    centre: np.ndarray
    kernel: np.ndarray
    bias: np.ndarray
    id_table: np.ndarray


@dataclass(frozen=True)
class ClickFactors:
    """The factorised co-occurrences, and how often each item was clicked.

    Attributes:
        values: float64 `(num_factors,)`, eigenvalues, largest first, none below 0.
        vectors: float64 `(num_items, num_factors)`, eigenvectors.
        num_clicks: int64 `(num_items,)`.
    """

    values: np.ndarray
    vectors: np.ndarray
    num_clicks: np.ndarray


def factorise_clicks(
    histories: Sequence[np.ndarray],
    num_items: int,
    num_factors: int,
    seed: int = 0,
    *,
    ordered: bool = True,
) -> ClickFactors:
    """Factorises which items stand near each other in histories.

    Args:
        histories: int arrays of item numbers, oldest first, training only.
        num_items: int.
        num_factors: int ≥ 1; fewer come back where there are fewer items.
        seed: int, of the eigenvector search.
        ordered: bool, whether the order of a history means anything, see `near_pairs`.

    Returns: `ClickFactors`.

    Example:
        >>> factors = factorise_clicks([np.array([0, 1]), np.array([2, 1])], 4, num_factors=2)
        >>> factors.vectors.shape, factors.num_clicks.tolist()
        ((4, 2), [1, 2, 1, 0])
    """
    num_clicks = np.zeros(num_items, dtype=np.int64)
    for history in histories:
        np.add.at(num_clicks, history, 1)
    near = near_pairs(histories, num_items, ordered=ordered)
    return factorise_pairs(near, num_clicks, num_factors, seed)


def factorise_pairs(
    near: sp.csr_matrix, num_clicks: np.ndarray, num_factors: int, seed: int = 0
) -> ClickFactors:
    """Factorises pairs that are counted already.

    Args:
        near: float64 `(num_items, num_items)`, see `near_pairs`.
        num_clicks: int64 `(num_items,)`.
        num_factors: int ≥ 1; fewer come back where there are fewer items.
        seed: int, of the eigenvector search.

    Returns: `ClickFactors`.

    Example:
        >>> near = near_pairs([np.array([0, 1])], 2)
        >>> factorise_pairs(near, np.array([1, 1]), 1).values.round(2).tolist()
        [1.0]
    """
    num_items = len(num_clicks)
    damping = sp.diags(np.maximum(num_clicks, 1) ** -_POPULARITY_EXPONENT)
    likeness = (damping @ near @ damping).tocsr()
    num_factors = min(num_factors, num_items)
    if num_items <= max(2 * num_factors, 1024):
        values, vectors = np.linalg.eigh(likeness.toarray())
        values, vectors = values[-num_factors:], vectors[:, -num_factors:]
    else:
        first_guess = np.random.default_rng(seed).normal(size=num_items)
        values, vectors = eigsh(likeness, k=num_factors, which="LA", tol=1e-2, v0=first_guess)
    order = np.argsort(-values)
    return ClickFactors(np.maximum(values[order], 0.0), vectors[:, order], num_clicks)


def near_pairs(
    histories: Sequence[np.ndarray],
    num_items: int,
    max_gap: int = MAX_GAP,
    *,
    ordered: bool = True,
) -> sp.csr_matrix:
    """Counts how often two items stand near each other in a history.

    Items that follow each other count 1, a gap of g items between them counts 0.9 ** g, gaps
    above 19 do not count. In a history without order all that count, count alike: a long one is
    then a sample of its pairs.

    Args:
        histories: int arrays of item numbers, oldest first.
        num_items: int.
        max_gap: int >= 1, pairs further apart do not count. Defaults to 20 steps.
        ordered: bool, whether the order of a history means anything. Defaults to True.

    Returns: float64 `(num_items, num_items)`, symmetric.

    Example:
        >>> near_pairs([np.array([0, 1, 2])], 3).toarray().round(2).tolist()
        [[0.0, 1.0, 0.9], [1.0, 0.0, 1.0], [0.9, 1.0, 0.0]]
    """
    total = sp.csr_matrix((num_items, num_items))
    decay = _GAP_DECAY if ordered else 1.0
    for step in range(1, max_gap + 1):
        longer = [h for h in histories if len(h) > step]
        if not longer:
            break
        earlier = np.concatenate([h[:-step] for h in longer])
        later = np.concatenate([h[step:] for h in longer])
        weights = np.full(len(earlier), decay ** (step - 1))
        total = total + sp.csr_matrix((weights, (earlier, later)), shape=(num_items, num_items))
    return (total + total.T).tocsr()


def click_vectors(
    factors: ClickFactors, text_features: np.ndarray, power: float = 0.25
) -> np.ndarray:
    """Returns the collaborative vector of each item, foretold by its text where it has no clicks.

    Args:
        factors: `ClickFactors` of the training histories.
        text_features: float32 `(num_items, feature_dim)`, as a text encoder gives them.
        power: float in [0, 1], eigenvalues count with this power.

    Returns: float64 `(num_items, num_factors)`, rows of unit length.

    Example:
        >>> factors = factorise_clicks([np.array([0, 1])], 3, num_factors=2)
        >>> np.linalg.norm(click_vectors(factors, np.eye(3, 8)), axis=1).round(2).tolist()
        [1.0, 1.0, 1.0]
    """
    collaborative = _unit_rows(factors.vectors * factors.values**power)
    clicked = factors.num_clicks > 0
    if clicked.all() or not clicked.any():
        return collaborative
    centred = _centred(text_features)[0]
    kernel, bias = ridge_regression(centred, collaborative, _weights(factors))
    return np.where(clicked[:, None], collaborative, _unit_rows(centred @ kernel + bias))


def start_item_tower(
    factors: ClickFactors,
    text_features: np.ndarray,
    embedding_dim: int,
    *,
    text_share: float = 0.2,
    power: float = 0.25,
    collaborative: np.ndarray | None = None,
) -> ItemTowerStart:
    """Computes the start of an item tower from click factors and text features.

    Args:
        factors: `ClickFactors` of the training histories.
        text_features: float32 `(num_items, feature_dim)`, as a text encoder gives them.
        embedding_dim: int, width of the tower.
        text_share: float in [0, 1], share of the likeness that comes from text. Without any
            click it is 1, and 0 where all texts have the same features: then the text part of
            every item is zero, and items without clicks start at zero.
        power: float in [0, 1], eigenvalues count with this power: 0 takes all factors alike, 0.5
            gives the co-occurrences back.
        collaborative: what `click_vectors` gives for this power, where it is known already.

    Returns: `ItemTowerStart`.

    Example:
        >>> factors = factorise_clicks([np.array([0, 1])], 3, num_factors=2)
        >>> start = start_item_tower(factors, np.eye(3, 8, dtype=np.float32), 2)
        >>> start.kernel.shape, start.id_table[2].tolist()
        ((8, 2), [0.0, 0.0])
    """
    centred, centre = _centred(text_features)
    clicked = factors.num_clicks > 0
    if not tells_texts_apart(text_features):
        return _start_without_text(factors, centre, embedding_dim, power)
    weights = _weights(factors)
    if collaborative is None:
        collaborative = click_vectors(factors, text_features, power)
    if not clicked.any():
        text_share, weights = 1.0, np.ones(len(centred))
    joined = np.hstack(
        [np.sqrt(1.0 - text_share) * collaborative, np.sqrt(text_share) * _unit_rows(centred)]
    )
    targets = joined @ _rotation(joined, weights + 0.1, embedding_dim)
    # Entries of about 1: the towers bring vectors to unit length anyway, and an optimiser whose
    # steps have one size for all weights would otherwise wipe the start out.
    targets *= np.sqrt(embedding_dim)
    kernel, bias = ridge_regression(centred, targets, weights)
    id_table = np.where(clicked[:, None], targets - (centred @ kernel + bias), 0.0)
    return ItemTowerStart(
        centre=centre.astype(np.float32),
        kernel=kernel.astype(np.float32),
        bias=bias.astype(np.float32),
        id_table=id_table.astype(np.float32),
    )


def tells_texts_apart(text_features: np.ndarray) -> bool:
    """Says whether any two texts have different features, which `encoder.kind: none` never gives.

    Args:
        text_features: float32 `(num_items, feature_dim)`.

    Example:
        >>> tells_texts_apart(np.ones((3, 1), np.float32))
        False
    """
    return bool(len(text_features)) and bool(np.any(text_features != text_features[:1]))


def _start_without_text(
    factors: ClickFactors, centre: np.ndarray, embedding_dim: int, power: float
) -> ItemTowerStart:
    """Clicked items start at their collaborative vector, by the id alone."""
    collaborative = _unit_rows(factors.vectors * factors.values**power)
    weights = np.minimum(factors.num_clicks, _MAX_WEIGHT) + 0.1
    targets = collaborative @ _rotation(collaborative, weights, embedding_dim)
    targets *= np.sqrt(embedding_dim)
    return ItemTowerStart(
        centre=centre.astype(np.float32),
        kernel=np.zeros((len(centre), embedding_dim), np.float32),
        bias=np.zeros(embedding_dim, np.float32),
        id_table=np.where(factors.num_clicks[:, None] > 0, targets, 0.0).astype(np.float32),
    )


def _weights(factors: ClickFactors) -> np.ndarray:
    """Returns how much an item counts in a regression on the texts."""
    return np.asarray(np.minimum(factors.num_clicks, _MAX_WEIGHT), np.float64)


def _centred(text_features: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Returns features as `TextProjection` sees them, and their centre."""
    unit = _unit_rows(np.asarray(text_features, dtype=np.float64))
    centre = unit.mean(axis=0)
    return unit - centre, centre


def _rotation(vectors: np.ndarray, weights: np.ndarray, num_directions: int) -> np.ndarray:
    """Returns the directions that keep most of the weighted rows, signs fixed, as columns."""
    _, directions = np.linalg.eigh((vectors * weights[:, None]).T @ vectors)
    directions = directions[:, ::-1][:, :num_directions]
    if directions.shape[1]:
        largest = np.abs(directions).argmax(axis=0)
        directions = directions * np.sign(directions[largest, np.arange(directions.shape[1])])
    return np.pad(directions, ((0, 0), (0, num_directions - directions.shape[1])))


def _unit_rows(vectors: np.ndarray) -> np.ndarray:
    norms = np.linalg.norm(vectors, axis=1, keepdims=True)
    return vectors / np.where(norms > 1e-12, norms, 1.0)
