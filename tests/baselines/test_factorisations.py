"""ALS and BPR through `implicit`."""

from __future__ import annotations

import sys
from collections.abc import Callable

import numpy as np
import polars as pl
import pytest

from tfrec_llm.baselines.als import Als
from tfrec_llm.baselines.bpr import Bpr
from tfrec_llm.baselines.interactions import Interactions
from tfrec_llm.data.queries import Queries
from tfrec_llm.errors import MissingPackageError

MakeQueries = Callable[..., Queries]


@pytest.fixture(scope="module")
def interactions(two_tastes: pl.DataFrame) -> Interactions:
    return Interactions.from_frame(two_tastes, 21)


@pytest.fixture
def with_implicit() -> None:
    pytest.importorskip("implicit")


@pytest.mark.usefixtures("with_implicit")
def test_als_serves_users_it_never_saw_from_their_history(
    interactions: Interactions, make_queries: MakeQueries
) -> None:
    model = Als(num_factors=2).fit(interactions)
    scores = model.score(make_queries([[0, 1], [15, 16]]))
    assert scores[0, :10].mean() > 3 * abs(scores[0, 10:20].mean())
    assert scores[1, 10:20].mean() > 3 * abs(scores[1, :10].mean())


@pytest.mark.usefixtures("with_implicit")
def test_als_does_not_look_at_who_asks(
    interactions: Interactions, make_queries: MakeQueries
) -> None:
    model = Als(num_factors=4).fit(interactions)
    known, unknown = (
        model.score(make_queries([[0, 1]], user_ids=[name])) for name in ("user 0", "nobody")
    )
    assert (known == unknown).all()


@pytest.mark.usefixtures("with_implicit")
@pytest.mark.parametrize("history", [[], [-1], [20]])
def test_als_gives_popular_items_where_it_knows_nothing(
    interactions: Interactions, make_queries: MakeQueries, history: list[int]
) -> None:
    model = Als(num_factors=4).fit(interactions)
    assert model.score(make_queries([history])).tolist() == [interactions.item_counts.tolist()]


@pytest.mark.usefixtures("with_implicit")
def test_bpr_knows_the_taste_of_a_training_user(
    interactions: Interactions, make_queries: MakeQueries
) -> None:
    model = Bpr(num_factors=4).fit(interactions)
    scores = model.score(make_queries([[], []], user_ids=["user 0", "user 1"]))
    assert scores[0, :10].mean() > scores[0, 10:20].mean()
    assert scores[1, 10:20].mean() > scores[1, :10].mean()


@pytest.mark.usefixtures("with_implicit")
def test_bpr_gives_popular_items_to_users_it_never_saw(
    interactions: Interactions, make_queries: MakeQueries
) -> None:
    model = Bpr(num_factors=4).fit(interactions)
    scores = model.score(make_queries([[0], [0]], user_ids=["nobody", "user 0"]))
    assert scores[0].tolist() == interactions.item_counts.tolist() != scores[1].tolist()


@pytest.mark.usefixtures("with_implicit")
@pytest.mark.parametrize("kind", [Als, Bpr])
def test_one_seed_gives_one_model(
    interactions: Interactions, make_queries: MakeQueries, kind: type[Als] | type[Bpr]
) -> None:
    queries = make_queries([[0, 1]], user_ids=["user 0"])
    one, same, other = (
        kind(num_factors=4, seed=seed).fit(interactions).score(queries) for seed in (1, 1, 2)
    )
    assert (one == same).all() and (one != other).any()
    assert np.isfinite(one).all() and one.dtype == np.float32


@pytest.mark.parametrize("kind", [Als, Bpr])
def test_without_implicit_the_error_says_how_to_install_it(
    monkeypatch: pytest.MonkeyPatch, kind: type[Als] | type[Bpr]
) -> None:
    monkeypatch.setitem(sys.modules, "implicit", None)
    with pytest.raises(MissingPackageError, match=r"needs the package `implicit`.*\[baselines\]"):
        kind()
