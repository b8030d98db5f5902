"""Settings chosen on validation, then a refit."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import polars as pl
import pytest

from tfrec_llm.baselines import tuning
from tfrec_llm.baselines.interactions import Interactions
from tfrec_llm.baselines.item_knn import ItemKnn
from tfrec_llm.baselines.tuning import BASELINES, GRIDS, tune_and_refit
from tfrec_llm.data.catalogue import Catalogue
from tfrec_llm.data.queries import Queries
from tfrec_llm.errors import DataError, UsageError
from tfrec_llm.seeds import child_seed

MakeQueries = Callable[..., Queries]


@pytest.fixture(scope="module")
def catalogue() -> Catalogue:
    ids = [f"i{n}" for n in range(21)]
    texts = [f"red word{n}" if n < 10 else f"blue word{n}" for n in range(21)]
    return Catalogue(pl.DataFrame({"item_id": ids, "title": ids, "text": texts}))


@pytest.fixture(scope="module")
def parts(two_tastes: pl.DataFrame) -> tuple[pl.DataFrame, pl.DataFrame, Queries]:
    """Training without the last item of each user, all of it, and those last items as queries."""
    place = pl.int_range(pl.len()).over("user_id")
    train = two_tastes.filter(place < 3)
    last = two_tastes.filter(place == 3)
    histories = train.group_by("user_id", maintain_order=True).agg("item_number")
    queries = Queries(
        user_ids=last["user_id"].to_list(),
        histories=[h.to_numpy() for h in histories["item_number"]],
        texts=[""] * last.height,
        targets=last["item_number"].to_numpy(),
        is_cold_user=np.zeros(last.height, bool),
    )
    return train, two_tastes, queries


@pytest.fixture
def small_grids(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(GRIDS, "als", {"num_factors": (2, 4)})
    monkeypatch.setitem(GRIDS, "bpr", {"num_factors": (2,)})


class Listener:
    def __init__(self) -> None:
        self.tasks: list[tuple[str, int, int]] = []

    def message(self, text: str) -> None: ...

    def advance(self, task: str, done: int, total: int, note: str = "") -> None:
        self.tasks.append((task, done, total))


@pytest.mark.usefixtures("small_grids")
def test_every_baseline_comes_back_fitted_with_what_was_chosen(
    parts: tuple[pl.DataFrame, pl.DataFrame, Queries], catalogue: Catalogue
) -> None:
    pytest.importorskip("implicit")
    features = np.eye(21, dtype=np.float32)
    tuned = tune_and_refit(*parts, catalogue, item_features=features)
    assert [one.model.name for one in tuned] == list(BASELINES)
    for one in tuned:
        assert np.isfinite(one.model.score(parts[2])).all()
        grid = GRIDS[one.model.name]
        assert all(one.settings[key] in values for key, values in grid.items())
        assert ("validation_ndcg@10" in one.settings) == bool(grid)


def test_the_chosen_setting_is_the_best_of_the_grid(
    parts: tuple[pl.DataFrame, pl.DataFrame, Queries],
    catalogue: Catalogue,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A decay that looks at the newest item alone is right when only it tells the target."""
    train = pl.DataFrame(
        {"user_id": list("aabbccdd"), "item_number": [0, 1, 0, 1, 2, 3, 2, 3]},
        schema_overrides={"item_number": pl.Int32},
    )
    queries = Queries(
        user_ids=["x"],
        histories=[np.array([0, 0, 2])],
        texts=[""],
        targets=np.array([3]),
        is_cold_user=np.array([True]),
    )
    for grid in ((1.0, 0.4), (0.4, 1.0)):
        monkeypatch.setitem(GRIDS, "item_knn", {"decay": grid})
        tuned = tune_and_refit(train, train, queries, catalogue, names=["item_knn"])
        assert tuned[0].settings["decay"] == 0.4
        assert tuned[0].settings["validation_ndcg@10"] == 1.0


def test_the_refit_sees_the_validation_part(
    parts: tuple[pl.DataFrame, pl.DataFrame, Queries], catalogue: Catalogue
) -> None:
    train, both, queries = parts
    (popularity,) = tune_and_refit(train, both, queries, catalogue, names=["popularity"])
    counts = np.bincount(both["item_number"].to_numpy(), minlength=21)
    assert popularity.model.score(queries)[0].tolist() == counts.tolist()
    assert popularity.settings == {}


def test_similarities_are_worked_out_once_for_all_decays(
    parts: tuple[pl.DataFrame, pl.DataFrame, Queries],
    catalogue: Catalogue,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    fits = []
    fit = ItemKnn.fit
    monkeypatch.setattr(ItemKnn, "fit", lambda self, part: (fits.append(1), fit(self, part))[1])
    tuned = tune_and_refit(*parts, catalogue, names=["item_knn"])
    grid = GRIDS["item_knn"]
    assert len(fits) == len(grid["shrinkage"]) * len(grid["num_neighbours"]) + 1
    assert tuned[0].settings["settings_tried"] == (len(fits) - 1) * len(grid["decay"])
    assert tuned[0].model.decay == tuned[0].settings["decay"]  # type: ignore[attr-defined]


def test_a_seeded_sample_bounds_the_validation_queries(
    parts: tuple[pl.DataFrame, pl.DataFrame, Queries],
    catalogue: Catalogue,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    seen: list[list[str]] = []
    real = tuning.recommended_lists

    def spy(model: object, queries: Queries, *rest: object) -> np.ndarray:
        seen.append(queries.user_ids)
        return real(model, queries, *rest)  # type: ignore[arg-type]

    monkeypatch.setattr(tuning, "recommended_lists", spy)
    for seed in (1, 1, 2):
        tune_and_refit(*parts, catalogue, names=["tfidf"], seed=seed, max_validation_queries=5)
    assert {len(users) for users in seen} == {5}
    assert seen[0] == seen[4] != seen[8]


def test_without_validation_queries_the_defaults_stand(
    parts: tuple[pl.DataFrame, pl.DataFrame, Queries], catalogue: Catalogue
) -> None:
    train, both, queries = parts
    tuned = tune_and_refit(train, both, queries.take([]), catalogue, names=["item_knn"])
    assert tuned[0].settings == {}
    assert tuned[0].model.decay == ItemKnn().decay  # type: ignore[attr-defined]


def test_progress_counts_every_setting(
    parts: tuple[pl.DataFrame, pl.DataFrame, Queries], catalogue: Catalogue
) -> None:
    listener = Listener()
    tune_and_refit(*parts, catalogue, names=["tfidf"], progress=listener)
    assert listener.tasks == [("tune tfidf", n, 4) for n in range(1, 5)]


def test_unknown_names_and_missing_vectors_are_refused_before_any_work(
    parts: tuple[pl.DataFrame, pl.DataFrame, Queries], catalogue: Catalogue
) -> None:
    with pytest.raises(UsageError, match="unknown baselines: 'svd'. Known ones: popularity"):
        tune_and_refit(*parts, catalogue, names=["svd"])
    with pytest.raises(UsageError, match="`zero_shot` needs `item_features`"):
        tune_and_refit(*parts, catalogue, names=["popularity", "zero_shot"])


def test_vectors_of_another_corpus_are_refused(
    parts: tuple[pl.DataFrame, pl.DataFrame, Queries], catalogue: Catalogue
) -> None:
    with pytest.raises(DataError, match=r"one vector for each of the 21 items.*\(20, 3\)"):
        tune_and_refit(
            *parts, catalogue, names=["zero_shot"], item_features=np.ones((20, 3), np.float32)
        )


def test_sasrec_is_measured_where_it_is_named_and_refitted_for_the_best_number_of_passes(
    parts: tuple[pl.DataFrame, pl.DataFrame, Queries],
    catalogue: Catalogue,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from tfrec_llm.baselines.sasrec import Sasrec

    small = {"embedding_dim": 8, "num_blocks": 1, "learning_rate": 0.02, "max_epochs": 3}
    monkeypatch.setitem(GRIDS, "sasrec", {key: (value,) for key, value in small.items()})
    (tuned,) = tune_and_refit(*parts, catalogue, names=["sasrec"])
    assert "sasrec" not in BASELINES
    assert 1 <= tuned.settings["num_epochs"] <= 3 and tuned.settings["settings_tried"] == 1
    both = Interactions.from_frame(parts[1], 21)
    options = small | {"num_epochs": tuned.settings["num_epochs"]}
    refitted = Sasrec(seed=child_seed(7, "sasrec"), **options).fit(both)  # type: ignore[arg-type]
    np.testing.assert_array_equal(tuned.model.score(parts[2]), refitted.score(parts[2]))
