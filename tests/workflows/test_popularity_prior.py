"""A run with a popularity prior: how much of it is served is said at export."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from tfrec_llm.data.catalogue import Catalogue
from tfrec_llm.data.tables import read_items
from tfrec_llm.errors import ConfigError, UsageError
from tfrec_llm.prior.item_prior import PriorWeights
from tfrec_llm.prior.lateness import lateness
from tfrec_llm.serving import saved_model
from tfrec_llm.serving.loaded import LoadedRecommender, load
from tfrec_llm.trainer.choose_neighbours import ChosenNeighbours, choose_neighbours
from tfrec_llm.workflows import neighbours
from tfrec_llm.workflows.build import read_dataset, split_dataset
from tfrec_llm.workflows.evaluate import evaluate
from tfrec_llm.workflows.export import export
from tfrec_llm.workflows.refresh import refresh
from tfrec_llm.workflows.train import train


@pytest.fixture(scope="module")
def run(shop_config: Any, tmp_path_factory: Any) -> Path:
    folder: Path = tmp_path_factory.mktemp("prior") / "run"
    chosen = ChosenNeighbours(prior=PriorWeights(popularity=-0.1, lateness=0.05))
    with pytest.MonkeyPatch.context() as patch:  # so small a shop may well choose none
        patch.setattr(neighbours, "_choose", lambda *_: chosen)
        train(shop_config("towers.history=mean"), folder)
    return folder


@pytest.fixture(scope="module")
def exports(run: Path, shop_tables: Path, tmp_path_factory: Any) -> list[LoadedRecommender]:
    """With the prior, that one refreshed by a changed text, and both again without the prior."""
    out = tmp_path_factory.mktemp("prior_exports") / "export"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(saved_model, "check_export", lambda *_: [])
        items = read_items(shop_tables / "items.csv")[0]
        bare = pl.col("text").str.strip_prefix(pl.col("title")).str.strip_prefix(". ")
        more = pl.when(pl.col("item_id") == "king-2").then(pl.lit(" crown")).otherwise(pl.lit(""))
        items = items.select("item_id", "title", text=bare + more)
        for share in (None, 0.0):
            export(run, out, popularity_prior=share)
            summary = refresh(out, items)
            assert (summary["changed"], summary["encoded"]) == (1, 1)
    return [load(out / version) for version in "1234"]


def vectors(recommender: LoadedRecommender) -> np.ndarray:
    return np.load(recommender.folder / "assets.extra" / "item_embeddings.npy")


def ids(recommender: LoadedRecommender) -> list[str]:
    frame = pl.read_parquet(recommender.folder / "assets.extra" / "items.parquet")
    return frame["item_id"].to_list()


@pytest.mark.slow
def test_without_it_the_items_have_the_same_vectors_and_no_prior(
    exports: list[LoadedRecommender],
) -> None:
    whole, _, without, refreshed = map(vectors, exports)
    np.testing.assert_array_equal(whole[:, :-1], without[:, :-1])
    assert np.abs(whole[:, -1]).max() > 1e-3
    assert not without[:, -1].any() and not refreshed[:, -1].any()


@pytest.mark.slow
def test_a_refresh_keeps_it_where_a_text_changed_too(exports: list[LoadedRecommender]) -> None:
    whole, refreshed = exports[:2]
    before = dict(zip(ids(whole), vectors(whole), strict=True))
    after = dict(zip(ids(refreshed), vectors(refreshed), strict=True))
    assert before.keys() == after.keys()
    assert any(np.any(before[item][:-1] != after[item][:-1]) for item in before)
    for item in before:
        assert before[item][-1] == after[item][-1]


@pytest.mark.slow
def test_the_share_stands_on_the_card(exports: list[LoadedRecommender]) -> None:
    whole, without = ((e.folder / "model_card.md").read_text() for e in exports[::2])
    assert "popularity_prior: 0 of what was chosen" in without
    assert "popularity_prior" not in whole


@pytest.mark.slow
@pytest.mark.parametrize("version", [0, 1, 2, 3])
def test_items_are_alike_by_their_vectors_not_by_being_popular(
    exports: list[LoadedRecommender], version: int
) -> None:
    asked = exports[version]
    found = asked.similar("king-1", k=5)
    places = {item_id: row for row, item_id in enumerate(ids(asked))}
    cosines = vectors(asked)[:, :-1] @ vectors(asked)[places["king-1"], :-1]
    for item in found:
        place = places[item.item_id]
        assert item.score == pytest.approx(cosines[place], abs=1e-5)


def test_the_evaluation_ranks_with_it(run: Path) -> None:
    assert 0.0 <= evaluate(run)["models"]["two_tower"]["all"]["ndcg@10"] <= 1.0


def test_the_later_half_of_the_validation_cases_decides(
    shop_config: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[Any] = []

    def spy(*arguments: Any, **options: Any) -> Any:
        asked.extend(arguments[:2])
        return choose_neighbours(*arguments, **options)

    monkeypatch.setattr(neighbours, "choose_neighbours", spy)
    monkeypatch.setattr(neighbours, "_FEWEST_LATE_CASES", 3)
    monkeypatch.setattr(neighbours, "_MAX_CASES", 3)
    config = shop_config("train.epochs=1", "towers.history=mean")
    train(config, tmp_path / "run")
    (queries, histories), dataset = asked, read_dataset(config.data)
    catalogue = Catalogue(dataset.items)
    place = lateness(histories, len(catalogue))
    every = split_dataset(config, dataset, catalogue).validation
    middle = np.median([place[history[-1]] for history in every.histories])
    assert len(queries) == 3 < len(every)
    assert all(place[history[-1]] >= middle for history in queries.histories)


def test_a_run_without_one_cannot_serve_less_of_it(shop_config: Any, tmp_path: Path) -> None:
    settings = ["towers.popularity_prior=false", "towers.history=mean", "train.epochs=1"]
    train(shop_config(*settings), tmp_path / "run")
    with pytest.raises(UsageError, match=r"towers\.popularity_prior: true"):
        export(tmp_path / "run", tmp_path / "export", popularity_prior=0.5)


@pytest.mark.parametrize(
    ("overrides", "told"),
    [
        (["towers.popularity_prior=false", "index.popularity_prior=0.5"], "set that to true"),
        (["model.kind=matrix_factorisation", "index.popularity_prior=0.5"], "two towers"),
    ],
)
def test_settings_that_do_not_go_together_are_refused(
    shop_config: Any, overrides: list[str], told: str
) -> None:
    with pytest.raises(ConfigError, match=told):
        shop_config(*overrides)
