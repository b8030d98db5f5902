"""Settings of every baseline from validation, then a refit on all that came before the test."""

from __future__ import annotations

import functools
import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import numpy as np
import polars as pl

from tfrec_llm.baselines.als import Als
from tfrec_llm.baselines.bpr import Bpr
from tfrec_llm.baselines.interactions import Interactions
from tfrec_llm.baselines.item_knn import ItemKnn
from tfrec_llm.baselines.popularity import Popularity
from tfrec_llm.baselines.slim import Slim
from tfrec_llm.baselines.tfidf import Tfidf
from tfrec_llm.baselines.zero_shot import ZeroShot
from tfrec_llm.data.catalogue import Catalogue
from tfrec_llm.data.queries import Queries
from tfrec_llm.errors import DataError, UsageError
from tfrec_llm.evaluation.ndcg import ndcg_at_k
from tfrec_llm.evaluation.recommended_lists import (
    check_queries,
    recommended_lists,
    target_ranks,
)
from tfrec_llm.evaluation.top_k import tie_order
from tfrec_llm.progress import Progress, Silent
from tfrec_llm.seeds import child_generator, child_seed

BASELINES = ("popularity", "item_knn", "slim", "als", "bpr", "tfidf", "zero_shot")
SLOW_BASELINES = ("sasrec",)  # minutes of training, so only where they are named

_DECAYS = (1.0, 0.8, 0.6, 0.4)
# Simpler settings stand first: they win where the validation set cannot tell.
GRIDS: dict[str, dict[str, tuple[float, ...]]] = {
    "popularity": {},
    "item_knn": {
        "shrinkage": (0.0, 5.0, 20.0, 50.0, 100.0),
        "num_neighbours": (100, 1000),
        "decay": _DECAYS,
    },
    "slim": {"regularisation": (10.0, 3.0, 30.0, 100.0), "recency": _DECAYS},
    "als": {
        "num_factors": (64, 128, 256),
        "regularisation": (0.01, 10.0),
        "alpha": (1.0, 10.0, 40.0),
    },
    "bpr": {"num_factors": (64, 128), "regularisation": (0.002, 0.01)},
    "tfidf": {"decay": _DECAYS},
    "zero_shot": {"decay": _DECAYS},
    "sasrec": {"dropout": (0.2, 0.5)},
}


class Baseline(Protocol):
    """A recommender that is fitted on interactions alone."""

    name: str

    def fit(self, interactions: Interactions) -> Baseline:
        """Learns, and returns itself."""

    def score(self, queries: Queries) -> np.ndarray:
        """Returns float32 `(len(queries), num_items)`, finite, higher is better."""


@runtime_checkable
class StopsEarly(Baseline, Protocol):
    """A baseline whose number of passes is chosen on validation too."""

    num_epochs: int

    def fit_until_best(self, interactions: Interactions, validate: Callable[[], float]) -> Baseline:
        """Learns until `validate` no longer rises, sets `num_epochs`, and returns itself."""


@dataclass(frozen=True)
class TunedBaseline:
    """A baseline ready for the test.

    Attributes:
        model: fitted on training + validation with the chosen settings.
        settings: the chosen settings, and of the choice: `validation_ndcg@10`,
            `validation_queries` and `settings_tried`. Empty where there is nothing to choose.
    """

    model: Baseline
    settings: dict[str, Any]


def tune_and_refit(
    train: pl.DataFrame,
    train_and_validation: pl.DataFrame,
    validation: Queries,
    catalogue: Catalogue,
    *,
    names: Sequence[str] | None = None,
    item_features: np.ndarray | None = None,
    text_vectors: Callable[[list[str]], np.ndarray] | None = None,
    seed: int = 7,
    max_validation_queries: int = 2000,
    progress: Progress | None = None,
) -> list[TunedBaseline]:
    """Tries every setting of `GRIDS` on the validation set and refits the best one.

    The best setting has the highest NDCG@10 over the full corpus; among equals the first one
    stays. What does not depend on `decay`, such as the similarities of item-kNN, is worked out
    once and used for all decays. A baseline that learns in passes is refitted for as many as were
    best. Without validation queries the defaults of each class are used.

    Args:
        train: `user_id`, `item_number`; the training part.
        train_and_validation: the same with the validation part.
        validation: held-out cases whose targets are the validation part.
        catalogue: the corpus.
        names: which of `BASELINES` and `SLOW_BASELINES`, in the order wanted; None takes all
            `BASELINES` that can be made (zero_shot needs `item_features`).
        item_features: float32 `(num_items, F)`, text vectors for zero_shot.
        text_vectors: vectors of user texts for zero_shot, see `ZeroShot`.
        seed: int, of random starts and of the sample of queries.
        max_validation_queries: int >= 1, a seeded sample bounds the time.
        progress: told of each setting.

    Returns: one `TunedBaseline` for each name, in that order.

    Raises:
        UsageError: when a name is unknown, or zero_shot is asked for without vectors.
        DataError: when the vectors, or a query, belong to another corpus.
        MissingPackageError: when als or bpr is asked for and `implicit` is not installed.

    Example:
        >>> frame = pl.DataFrame({"user_id": ["u", "u", "v"], "item_number": [0, 1, 0]})
        >>> ids = ["a", "b", "c"]
        >>> catalogue = Catalogue(pl.DataFrame({"item_id": ids, "title": ids, "text": ids}))
        >>> validation = Queries(["v"], [np.array([0])], [""], np.array([1]), np.array([False]))
        >>> tuned = tune_and_refit(frame, frame, validation, catalogue, names=["item_knn"])
        >>> tuned[0].model.name, tuned[0].settings["decay"], tuned[0].settings["settings_tried"]
        ('item_knn', 1.0, 40)
    """
    names = _checked_names(names, item_features)
    progress = progress or Silent()
    makers = _makers(catalogue, item_features, text_vectors, seed, progress)
    for name in names:  # a missing package or a wrong shape shows before any long work
        makers[name]()

    check_queries(validation, len(catalogue))
    validation = validation.sample(
        max_validation_queries, child_generator(seed, "baselines", "validation queries")
    )
    fitted_on = Interactions.from_frame(train, len(catalogue))
    refitted_on = Interactions.from_frame(train_and_validation, len(catalogue))
    order = tie_order(catalogue.item_ids)

    tuned = []
    for name in names:
        settings: dict[str, Any] = {}
        report: dict[str, Any] = {}
        if GRIDS[name] and len(validation):
            settings, report = _best_settings(
                name, makers[name], fitted_on, validation, order, progress
            )
        progress.message(f"baseline {name}: fitting again on training + validation")
        model = makers[name](**settings).fit(refitted_on)
        tuned.append(TunedBaseline(model=model, settings=settings | report))
    return tuned


def _best_settings(
    name: str,
    make: Callable[..., Baseline],
    interactions: Interactions,
    validation: Queries,
    order: np.ndarray,
    progress: Progress,
) -> tuple[dict[str, Any], dict[str, Any]]:
    grid = GRIDS[name]
    total = int(np.prod([len(values) for values in grid.values()]))
    best: dict[str, Any] = {}
    best_ndcg, tried = -1.0, 0

    def validated(model: Baseline) -> float:
        lists = recommended_lists(model, validation, 10, order)
        return float(ndcg_at_k(target_ranks(lists, validation.targets), 10).mean())

    for fit_settings in _combinations({k: v for k, v in grid.items() if k != "decay"}):
        model: Any = make(**fit_settings)
        if isinstance(model, StopsEarly):
            model.fit_until_best(interactions, functools.partial(validated, model))
            fit_settings = fit_settings | {"num_epochs": model.num_epochs}
        else:
            model.fit(interactions)
        for query_settings in _combinations({k: v for k, v in grid.items() if k == "decay"}):
            for key, value in query_settings.items():
                setattr(model, key, value)
            ndcg = validated(model)
            tried += 1
            if ndcg > best_ndcg:
                best, best_ndcg = fit_settings | query_settings, ndcg
            progress.advance(f"tune {name}", tried, total, f"best NDCG@10 {best_ndcg:.4f}")
    report = {
        "validation_ndcg@10": best_ndcg,
        "validation_queries": len(validation),
        "settings_tried": tried,
    }
    return best, report


def _combinations(grid: Mapping[str, Sequence[float]]) -> Iterator[dict[str, Any]]:
    for values in itertools.product(*grid.values()):
        yield dict(zip(grid, values, strict=True))


def _makers(
    catalogue: Catalogue,
    item_features: np.ndarray | None,
    text_vectors: Callable[[list[str]], np.ndarray] | None,
    seed: int,
    progress: Progress,
) -> dict[str, Callable[..., Baseline]]:
    def zero_shot(**settings: Any) -> ZeroShot:
        if item_features is None:
            raise UsageError(
                "the baseline `zero_shot` needs `item_features`, one text vector for each item."
            )
        if item_features.ndim != 2 or len(item_features) != len(catalogue):
            raise DataError(
                f"`item_features` must hold one vector for each of the {len(catalogue)} items, got "
                f"the shape {item_features.shape}. Encode the texts of the same catalogue."
            )
        return ZeroShot(item_features, text_vectors, **settings)

    def sasrec(**settings: Any) -> Baseline:
        from tfrec_llm.baselines.sasrec import Sasrec  # the others need no TensorFlow

        return Sasrec(seed=child_seed(seed, "sasrec"), progress=progress, **settings)

    return {
        "popularity": Popularity,
        "item_knn": ItemKnn,
        "slim": Slim,
        "als": lambda **settings: Als(seed=child_seed(seed, "als"), **settings),
        "bpr": lambda **settings: Bpr(seed=child_seed(seed, "bpr"), **settings),
        "tfidf": lambda **settings: Tfidf(catalogue.texts, **settings),
        "zero_shot": zero_shot,
        "sasrec": sasrec,
    }


def _checked_names(names: Sequence[str] | None, item_features: np.ndarray | None) -> list[str]:
    if names is None:
        return [name for name in BASELINES if name != "zero_shot" or item_features is not None]
    every = (*BASELINES, *SLOW_BASELINES)
    unknown = [name for name in names if name not in every]
    if unknown:
        raise UsageError(
            f"unknown baselines: {', '.join(map(repr, unknown))}. Known ones: {', '.join(every)}."
        )
    return list(dict.fromkeys(names))
