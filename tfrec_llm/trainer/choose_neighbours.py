"""How much neighbours and a prior count beside the towers, chosen on the validation set.

In this order, each with what was chosen before:

1. Old items: how fast a history fades, how strongly the regression of clicks is regularised, and
   its weight; then how much being taken late counts, and being popular against it, by turns; then
   the weight of the likeness by words.
2. New items: one item in ten is taken for new, that is, known by its text alone, in towers and
   neighbours. The likeness by words, at each of some sharpnesses, gets the weight that orders new
   items among themselves best.
3. How high new items stand among the others: the length of their vectors, the sharpness, and how
   far their neighbours by words reach. Of what costs no more than a given share of NDCG@100, with
   these new items and with those that are really there alone, that which finds new items best
   among all. Left to the best NDCG of all, a new item would hardly ever be shown, and never get its
   first click.

NDCG is taken at 100, where a few thousand cases tell settings apart better than at 10.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace

import numpy as np
from scipy import sparse

from tfrec_llm.data.queries import Queries
from tfrec_llm.neighbours.find_neighbours import NeighbourSettings, unseen_items
from tfrec_llm.neighbours.history_profile import history_profile
from tfrec_llm.neighbours.item_regression import ItemRegression
from tfrec_llm.neighbours.word_likeness import WordLikeness
from tfrec_llm.prior.item_prior import PriorParts, PriorWeights
from tfrec_llm.progress import Progress, Silent

WEIGHTS = (0.25, 0.5, 1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0)
# From the first one on as long as it gets better; decays are compared at `REGULARISATION`.
DECAYS = (1.0, 0.8, 0.6, 0.4, 0.2)
REGULARISATION = 10.0
WEAKER_REGULARISATIONS, STRONGER_REGULARISATIONS = (3.0, 1.0), (30.0, 100.0)
PRIOR_ROUNDS = 2
# What is new at the end of the log is taken after it too; the other way round is no rule.
LATENESS_WEIGHTS = (0.0, 0.005, 0.01, 0.02, 0.03, 0.04, 0.05, 0.07, 0.1)
# Never above 0: what is popular is so in its vector already, and more of it takes the room of items
# with few clicks or none for a gain that validation can hardly tell.
POPULARITY_WEIGHTS = (0.0, -0.005, -0.01, -0.02, -0.05)
WORD_WEIGHTS = (0.1, 0.2, 0.5, 1.0, 2.0, 4.0, 8.0)
NEW_WEIGHTS = (0.0, 0.1, 0.2, 0.5, 1.0, 2.0, 4.0, 8.0, 16.0, 32.0)
# Never above 1: a request by text alone shall find new items as it finds the others.
NEW_ITEM_SCALES = (0.7, 0.8, 0.9, 1.0)
SHARPNESSES = (1.0, 1.5, 2.0)
# Of the weight that orders new items among themselves; only those who have a history feel it.
REACHES = (1.0, 1.5, 2.0, 3.0, 4.0, 6.0)
NEW_SHARE = 0.1
_ROWS = 32  # scores of so many cases are computed at once

Scored = Callable[[slice], Iterable[np.ndarray]]


@dataclass(frozen=True)
class ChosenNeighbours:
    """What was chosen.

    Attributes:
        settings: `NeighbourSettings`.
        prior: `PriorWeights`.
        new_item_scale: float, length of the vectors of new items.
        validation_ndcg: float, NDCG@100 with neighbours and prior.
        validation_ndcg_without: float, NDCG@100 of the towers alone.
    """

    settings: NeighbourSettings = field(default_factory=NeighbourSettings)
    prior: PriorWeights = field(default_factory=PriorWeights)
    new_item_scale: float = 1.0
    validation_ndcg: float = 0.0
    validation_ndcg_without: float = 0.0


def choose_neighbours(
    queries: Queries,
    histories: Sequence[np.ndarray],
    item_texts: Sequence[str],
    embed: Callable[[Queries, np.ndarray, float], tuple[np.ndarray, np.ndarray]],
    *,
    num_neighbours: int = 100,
    prior_parts: PriorParts | None = None,
    cases_for_new_items: int = 4000,
    new_item_cost: float = 0.02,
    seed: int = 0,
    progress: Progress | None = None,
) -> ChosenNeighbours:
    """Chooses weights, regularisation and decay by NDCG@100.

    Args:
        queries: validation cases; only those with a history count.
        histories: int arrays of item numbers, oldest first, what the users of training took.
        item_texts: num_items str.
        embed: n cases; bool `(num_items,)`, which items are known by their text alone; and the
            length of their vectors → embeddings of the users float32 `(n, dim)`, and of the items
            `(num_items, dim)`, without any prior.
        num_neighbours: int >= 0, kept of each item; 0 chooses the prior alone.
        prior_parts: what a prior can be made of; None leaves it out.
        cases_for_new_items: int >= 1, of the cases, by which new items are placed: many ways to
            do so are tried, and differ by more than what is chosen before.
        new_item_cost: float in [0, 1), share of NDCG@100 that showing new items may cost.
        seed: int, of the items taken for new.
        progress: listener.

    Returns: `ChosenNeighbours`; with nothing to choose by, towers alone.
    """
    progress = progress or Silent()
    queries = queries.take(np.flatnonzero([len(history) > 0 for history in queries.histories]))
    num_items = len(item_texts)
    is_new = unseen_items(histories, num_items)
    if not len(queries) or is_new.all():
        return ChosenNeighbours()
    cases = _Cases(queries, num_items)

    users, items = embed(queries, is_new, 1.0)
    products = users @ items.T
    without = cases.ndcgs(lambda rows: [products[rows]])[0]
    best, settings, by_clicks = _by_clicks(
        cases, products, without, queries.histories, histories, num_neighbours, progress
    )
    profile = history_profile(queries.histories, num_items, settings.decay)
    products += (settings.weight * (profile @ by_clicks)).toarray()
    prior_weights, prior = PriorWeights(), np.zeros(num_items, np.float32)
    if prior_parts is not None:
        best, prior_weights = _prior_weights(cases, products, prior_parts, best)
        prior = prior_parts.prior(prior_weights)
        progress.message(
            f"prior: lateness {prior_weights.lateness:g}, popularity {prior_weights.popularity:g}, "
            f"best NDCG@100 {best:.4f}"
        )
    if not num_neighbours:
        return ChosenNeighbours(
            prior=prior_weights, validation_ndcg=best, validation_ndcg_without=without
        )
    words = WordLikeness(item_texts)
    by_words = words.pairs(~is_new, ~is_new, num_neighbours)
    products += prior
    by_weight = cases.ndcgs(_with(products, profile @ by_words, WORD_WEIGHTS))
    for weight, reached in zip(WORD_WEIGHTS, by_weight, strict=True):
        if reached > best:
            best, settings = reached, replace(settings, word_weight=weight)
    progress.message(f"neighbours by words: best NDCG@100 {best:.4f}")

    some = np.unique(np.linspace(0, len(queries) - 1, cases_for_new_items).astype(int))
    queries, profile = queries.take(some), profile[some]
    cases = _Cases(queries, num_items)
    taken = is_new | (np.random.default_rng(seed).random(num_items) < NEW_SHARE)
    old = sparse.diags((~taken).astype(np.float32))
    between_old = settings.weight * by_clicks + settings.word_weight * by_words
    prior_of_old = np.where(taken, np.float32(0.0), prior)
    from_known = (profile @ between_old).toarray() + prior
    from_old = (profile @ old @ between_old @ old).toarray() + prior_of_old
    is_target_new = taken[cases.targets]
    taken_pairs = words.new_pairs(taken, num_neighbours)
    new_pairs = words.new_pairs(is_new, num_neighbours)
    users, items = embed(queries, taken, 1.0)
    products = users @ items.T
    shapes = []  # sharpness, its weight among new items, what it adds with those taken, as it is
    for sharpness in SHARPNESSES:
        from_taken = profile @ taken_pairs.power(sharpness)
        ranks = cases.ranks(_with(products, from_taken, NEW_WEIGHTS), among=taken)
        by_weight = [_ndcg(of_weight[is_target_new]) for of_weight in ranks]
        new_weight = NEW_WEIGHTS[int(np.argmax(by_weight))]
        shapes.append((sharpness, new_weight, from_taken, profile @ new_pairs.power(sharpness)))
    trials = []
    for scale in NEW_ITEM_SCALES:
        users, items = embed(queries, is_new, scale)
        as_it_is = users @ items.T + from_known
        users, items = embed(queries, taken, scale)
        with_taken = users @ items.T + from_old
        for sharpness, new_weight, from_taken, from_new in shapes:
            weights = [scale * reach * new_weight for reach in (REACHES if new_weight else (1.0,))]
            of_taken = cases.ranks(_with(with_taken, from_taken, weights))
            trials += [
                _Trial(
                    scale=scale,
                    weight=weight,
                    sharpness=sharpness,
                    as_it_is=reached,
                    with_taken=_ndcg(ranks),
                    of_new=_ndcg(ranks[is_target_new]),
                )
                for weight, reached, ranks in zip(
                    weights,
                    cases.ndcgs(_with(as_it_is, from_new, weights)),
                    of_taken,
                    strict=True,
                )
            ]
    trial = _best_for_new_items(trials, new_item_cost)
    progress.message(
        f"new items of length {trial.scale}, words of weight {trial.weight:g}, sharpness "
        f"{trial.sharpness}: NDCG@100 of new ones {trial.of_new:.4f}, of all with them "
        f"{trial.with_taken:.4f}"
    )
    return ChosenNeighbours(
        settings=replace(settings, new_weight=trial.weight, sharpness=trial.sharpness),
        prior=prior_weights,
        new_item_scale=trial.scale,
        validation_ndcg=best,
        validation_ndcg_without=without,
    )


def _by_clicks(
    cases: _Cases,
    products: np.ndarray,
    without: float,
    asked: Sequence[np.ndarray],
    histories: Sequence[np.ndarray],
    num_neighbours: int,
    progress: Progress,
) -> tuple[float, NeighbourSettings, sparse.csr_matrix]:
    """Returns the best NDCG, its settings, and what clicks say then: nothing if that is best."""
    num_items = products.shape[1]
    best = without
    settings = NeighbourSettings(num_neighbours=num_neighbours)
    by_clicks = sparse.csr_matrix((num_items, num_items), dtype=np.float32)
    of_best: ItemRegression | None = None

    def weigh(regression: ItemRegression, decay: float, regularisation: float) -> bool:
        """Tries all weights; returns whether one of them is the best so far."""
        nonlocal best, settings, by_clicks, of_best
        best_before = best
        weights = regression.weights(regularisation)
        added = history_profile(asked, num_items, decay) @ weights
        by_weight = cases.ndcgs(_with(products, added, WEIGHTS))
        for weight, reached in zip(WEIGHTS, by_weight, strict=True):
            if reached > best:
                best, by_clicks, of_best = reached, weights, regression
                settings = replace(
                    settings, weight=weight, regularisation=regularisation, decay=decay
                )
        progress.message(
            f"neighbours by clicks, decay {decay}, regularisation {regularisation}: "
            f"best NDCG@100 {best:.4f}"
        )
        return best > best_before

    for decay in DECAYS if num_neighbours else ():
        regression = ItemRegression(
            histories, num_items, decay=decay, num_neighbours=num_neighbours
        )
        if not weigh(regression, decay, REGULARISATION) and of_best is not None:
            break
    if of_best is None:
        return best, settings, by_clicks
    for others in (WEAKER_REGULARISATIONS, STRONGER_REGULARISATIONS):
        for regularisation in others:
            if not weigh(of_best, settings.decay, regularisation):
                break
    return best, settings, by_clicks


def _prior_weights(
    cases: _Cases, scores: np.ndarray, parts: PriorParts, best: float
) -> tuple[float, PriorWeights]:
    """Returns the best NDCG and its weights, found by turns; no prior if that is best."""
    weights = PriorWeights()
    grids = {"lateness": LATENESS_WEIGHTS, "popularity": POPULARITY_WEIGHTS}
    for _ in range(PRIOR_ROUNDS):
        for name, grid in grids.items():
            if not getattr(parts, name).any():
                continue
            ways = [replace(weights, **{name: weight}) for weight in grid]
            priors = [parts.prior(way) for way in ways]
            by_way = cases.ndcgs(_with_priors(scores, priors))
            for way, reached in zip(ways, by_way, strict=True):
                if reached > best:
                    best, weights = reached, way
    return best, weights


@dataclass(frozen=True)
class _Trial:
    """One way to place new items, and the NDCG@100 that it reaches in three respects."""

    scale: float
    weight: float
    sharpness: float
    as_it_is: float
    with_taken: float
    of_new: float


def _best_for_new_items(trials: Sequence[_Trial], cost: float) -> _Trial:
    """Returns what finds new items best and costs no more than it may.

    Where everything costs more, what costs least.
    """
    most_as_it_is = max(trial.as_it_is for trial in trials)
    most_with_taken = max(trial.with_taken for trial in trials)

    def kept(trial: _Trial) -> float:
        shares = [1.0]
        if most_as_it_is:
            shares.append(trial.as_it_is / most_as_it_is)
        if most_with_taken:
            shares.append(trial.with_taken / most_with_taken)
        return min(shares)

    good = [trial for trial in trials if kept(trial) >= 1.0 - cost]
    if not good:
        return max(trials, key=kept)
    return max(good, key=lambda trial: (trial.of_new, trial.scale, trial.weight))


class _Cases:
    """Where targets stand, without ranking the rest."""

    def __init__(self, queries: Queries, num_items: int) -> None:
        self.targets = queries.targets
        self._seen = history_profile(queries.histories, num_items)

    def ranks(self, scored: Scored, among: np.ndarray | None = None) -> np.ndarray:
        """Returns the place of each target, 0 the first, by each of some scores.

        Items that tie with a target stand before it; those of the history do not count.

        Args:
            scored: rows of cases → what ranks them, float32 `(rows, num_items)` each. A few rows at
                a time fit into the cache of a processor, where all would be read from memory again
                for each of the scores.
            among: bool `(num_items,)`, the items that are ranked; None takes all.

        Returns: int64 `(scores, cases)`.
        """

        def of_rows(start: int) -> list[list[int]]:
            rows = slice(start, min(start + _ROWS, len(self.targets)))
            targets, seen = self.targets[rows], self._seen[rows].nonzero()
            found = []
            for scores in scored(rows):
                own = scores[np.arange(len(targets)), targets]
                above = scores >= own[:, None]
                above[seen] = False
                above = above if among is None else above[:, among]
                found.append([int(np.count_nonzero(row)) - 1 for row in above])
            return found

        with ThreadPoolExecutor(len(os.sched_getaffinity(0))) as pool:
            blocks = list(pool.map(of_rows, range(0, len(self.targets), _ROWS)))
        return np.concatenate([np.array(block) for block in blocks], axis=1)

    def ndcgs(self, scored: Scored) -> list[float]:
        """Returns the mean NDCG@100 by each of some scores; see `ranks`."""
        return [_ndcg(ranks) for ranks in self.ranks(scored)]


def _ndcg(ranks: np.ndarray) -> float:
    gains = np.where(ranks < 100, 1.0 / np.log2(np.maximum(ranks, 0) + 2.0), 0.0)
    return float(gains.mean()) if len(gains) else 0.0


def _with(base: np.ndarray, added: sparse.csr_matrix, weights: Sequence[float]) -> Scored:
    """Returns `base + weight * added` for each weight, a few rows at a time."""

    def scored(rows: slice) -> Iterator[np.ndarray]:
        dense = added[rows].toarray()
        return (base[rows] + weight * dense for weight in weights)

    return scored


def _with_priors(base: np.ndarray, priors: Sequence[np.ndarray]) -> Scored:
    """Returns `base + prior` for each prior of the items, a few rows at a time."""
    return lambda rows: (base[rows] + prior for prior in priors)
