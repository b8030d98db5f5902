from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tfrec_llm.baselines import implicit_package
from tfrec_llm.baselines.interactions import Interactions
from tfrec_llm.data.queries import Queries
from tfrec_llm.errors import MissingPackageError
from tfrec_llm.keras_api import keras
from tfrec_llm.models.matrix_factorisation import LOSSES, MatrixFactorisation
from tfrec_llm.models.retrieval_scorer import RetrievalScorer
from tfrec_llm.trainer.choose_factor_start import choose_factor_start, set_factor_start
from tfrec_llm.trainer.factor_starts import als_start, random_start


@pytest.fixture(scope="module")
def pairs(world: Any) -> Interactions:
    return Interactions.from_frame(world.interactions.sort("user_id"), len(world.features))


def make_model(world: Any, loss: str = "softmax", dim: int = 4) -> MatrixFactorisation:
    return MatrixFactorisation(
        len(world.features),
        dim,
        feature_dim=world.features.shape[1],
        num_users=40,
        max_history=4,
        loss=loss,
        item_id_dropout=0.2,
        dropout=0.0,
    )


def in_group(model: MatrixFactorisation, world: Any) -> float:
    """How much nearer items of the own group are than the others, for a history of one item."""
    count = len(world.features)
    queries = Queries(
        user_ids=[f"new{i}" for i in range(count)],
        histories=[np.array([i], np.int32) for i in range(count)],
        texts=[""] * count,
        targets=np.zeros(count, np.int32),
        is_cold_user=np.ones(count, bool),
    )
    scores = RetrievalScorer(model, world.features, np.ones(count, np.float32)).score(queries)
    own = np.arange(count)[:, None] // 6 == np.arange(count)[None, :] // 6
    np.fill_diagonal(scores, np.nan)
    spread = np.nanstd(scores)
    return float((np.nanmean(scores[own]) - np.nanmean(scores[~own])) / spread)


def test_the_start_of_als_scores_users_as_als_does(world: Any, pairs: Interactions) -> None:
    als = pytest.importorskip("tfrec_llm.baselines.als").Als(
        num_factors=4, regularisation=0.1, alpha=5.0, seed=3
    )
    als.fit(pairs)
    model = make_model(world)
    start = als_start(pairs, world.features, 4, confidence=5.0, regularisation=0.1, seed=3)
    model.set_start(start)
    queries = Queries(
        user_ids=["a", "b"],
        histories=[np.array([0, 2], np.int32), np.array([7], np.int32)],
        texts=["", ""],
        targets=np.zeros(2, np.int32),
        is_cold_user=np.zeros(2, bool),
    )
    found = RetrievalScorer(model, world.features, pairs.item_counts).score(queries)
    np.testing.assert_allclose(found, als.score(queries), atol=2e-3)
    users = start.user_table @ (start.id_table + text_part(start, world.features)).T
    expected = als.model.user_factors @ als.model.item_factors.T
    np.testing.assert_allclose(users * start.score_scale, expected, atol=1e-3)


def text_part(start: Any, features: np.ndarray) -> np.ndarray:
    unit = features / np.linalg.norm(features, axis=1, keepdims=True)
    part: np.ndarray = (unit - start.centre) @ start.kernel + start.bias
    return part


def test_an_item_without_clicks_starts_where_its_text_puts_it(world: Any) -> None:
    frame = world.interactions.filter(world.interactions["item_number"] != 4)
    features = world.features.copy()
    features[4] = features[5]  # the same text as an item that was clicked
    pairs = Interactions.from_frame(frame.sort("user_id"), len(features))
    start = als_start(pairs, features, 4)
    assert not start.id_table[4].any() and start.id_table[5].any()
    part = text_part(start, features)
    np.testing.assert_allclose(part[4], part[5], atol=1e-6)


def test_texts_that_say_nothing_leave_everything_to_the_ids(
    world: Any, pairs: Interactions
) -> None:
    start = als_start(pairs, np.ones_like(world.features), 4)
    assert not start.kernel.any() and not start.bias.any() and start.id_table.all()


def test_the_same_seed_gives_the_same_start(world: Any, pairs: Interactions) -> None:
    for make in (
        lambda seed: als_start(pairs, world.features, 4, seed=seed),
        lambda seed: random_start(40, world.features, 4, seed),
    ):
        one, again, other = make(1), make(1), make(2)
        np.testing.assert_array_equal(one.id_table, again.id_table)
        assert not np.array_equal(one.id_table, other.id_table)


def test_without_implicit_the_error_says_how_to_get_it(
    world: Any, pairs: Interactions, monkeypatch: pytest.MonkeyPatch
) -> None:
    def missing(name: str) -> Any:
        raise ModuleNotFoundError(name="implicit")

    monkeypatch.setattr(implicit_package.importlib, "import_module", missing)
    with pytest.raises(MissingPackageError, match="start `als` of a matrix factorisation"):
        als_start(pairs, world.features, 4)


def test_the_best_start_is_chosen_and_set_again_alike(world: Any, pairs: Interactions) -> None:
    model, other = make_model(world), make_model(world)
    values = iter([0.1, 0.4, 0.2, 0.3])
    chosen = choose_factor_start(model, pairs, world.features, lambda: next(values))
    assert chosen.validation_ndcg == 0.4 and (chosen.confidence, chosen.kind) == (1.0, "als")
    set_factor_start(other, pairs, world.features, chosen)
    for one, again in zip(model.served_variables, other.served_variables, strict=True):
        if "hidden" not in one.path:
            np.testing.assert_array_equal(one.value, again.value)


@pytest.mark.parametrize("loss", LOSSES)
def test_training_from_random_vectors_finds_the_groups(
    loss: str, world: Any, pairs: Interactions, tmp_path: Path
) -> None:
    model = make_model(world, loss)
    choose_factor_start(model, pairs, world.features, lambda: 0.0, kind="random")
    before = in_group(model, world)
    world.fit(model, tmp_path, epochs=15, stop_after=15, learning_rate=0.03)
    assert in_group(model, world) > before + 0.4


def test_a_resumed_training_ends_as_the_unbroken_one(
    world: Any, pairs: Interactions, tmp_path: Path
) -> None:
    models = []
    for name, stops in (("whole", [4]), ("broken", [2, 4])):
        for stop in stops:
            keras.utils.set_random_seed(1)
            model = make_model(world, "bpr")
            set_factor_start_randomly(model, pairs, world)
            world.fit(model, tmp_path / name, stop_after=stop, resume=True)
        models.append(model)
    for one, other in zip(*(m.variables for m in models), strict=True):
        np.testing.assert_allclose(one.value, other.value, atol=1e-6)


def set_factor_start_randomly(model: MatrixFactorisation, pairs: Interactions, world: Any) -> None:
    choose_factor_start(model, pairs, world.features, lambda: 0.0, kind="random", seed=5)
