from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import polars as pl
import pytest

from tfrec_llm.baselines.interactions import Interactions
from tfrec_llm.keras_api import tf
from tfrec_llm.models.factor_start import FactorStart
from tfrec_llm.models.matrix_factorisation import LOSSES, MatrixFactorisation
from tfrec_llm.models.variables_file import restore_variables, save_variables

NUM_ITEMS, FEATURE_DIM, DIM, NUM_USERS = 10, 6, 4, 5
Make = Callable[..., Any]


def make_start(seed: int = 1) -> FactorStart:
    generator = np.random.default_rng(seed)
    sizes = {
        "user_table": (NUM_USERS, DIM),
        "id_table": (NUM_ITEMS, DIM),
        "centre": (FEATURE_DIM,),
        "kernel": (FEATURE_DIM, DIM),
        "bias": (DIM,),
    }
    values: dict[str, Any] = {k: generator.normal(size=s).astype("f4") for k, s in sizes.items()}
    return FactorStart(**values, score_scale=0.3, confidence=5.0, regularisation=0.1)


def make_factors(loss: str = "softmax", **changes: Any) -> MatrixFactorisation:
    """Without drop-out, so that training sees what serving sees."""
    options = {"item_id_dropout": 0.0, "dropout": 0.0, "num_users": NUM_USERS, **changes}
    model = MatrixFactorisation(NUM_ITEMS, DIM, feature_dim=FEATURE_DIM, loss=loss, **options)
    if options["num_users"]:
        model.set_start(make_start())
        side = np.random.default_rng(2).normal(size=(DIM, DIM))
        model.side.kernel.assign(0.1 * side)
    return model


def test_an_item_is_its_text_part_plus_its_id_part(corpus: np.ndarray) -> None:
    model = make_factors()
    start = make_start()
    unit = corpus / np.linalg.norm(corpus, axis=1, keepdims=True)
    text = (unit - start.centre) @ start.kernel + start.bias
    found = model.embed_items(tf.constant(corpus[:2]), tf.constant([0, -1])).numpy()
    np.testing.assert_allclose(found[0], text[0] + start.id_table[0], atol=1e-5)
    np.testing.assert_allclose(found[1], text[1], atol=1e-5)


def test_a_user_minimises_the_weighted_squares_of_all_items(corpus: np.ndarray) -> None:
    model = make_factors()
    items = model.embed_corpus(corpus).astype(np.float64)
    taken = [2, 7]
    weights = np.ones(NUM_ITEMS)
    weights[taken] = 5.0
    ridge = 0.1 * np.square(items).sum() / DIM
    system = (items.T * weights) @ items + ridge * np.eye(DIM)
    expected = np.linalg.solve(system, 5.0 * items[taken].sum(axis=0))
    found = model.embed_users(
        tf.constant(items[None, taken].astype(np.float32)),
        tf.constant([[True, True]]),
        tf.zeros((1, FEATURE_DIM)),
        tf.constant([False]),
    )
    np.testing.assert_allclose(found.numpy()[0], expected, rtol=1e-3, atol=1e-4)


def test_a_text_counts_as_one_more_item_with_that_text(corpus: np.ndarray) -> None:
    model = make_factors()
    items = model.embed_corpus(corpus)
    as_item = model.embed_items(tf.constant(corpus[3:4]), tf.constant([-1]))
    by_text = model.embed_users(
        tf.constant(items[None, :1]),
        tf.constant([[True]]),
        tf.constant(corpus[3:4]),
        tf.constant([True]),
    )
    by_history = model.embed_users(
        tf.concat([items[None, :1], as_item[None]], axis=1),
        tf.constant([[True, True]]),
        tf.zeros((1, FEATURE_DIM)),
        tf.constant([False]),
    )
    np.testing.assert_allclose(by_text, by_history, atol=1e-4)


def test_a_user_of_whom_nothing_is_known_is_finite(corpus: np.ndarray) -> None:
    model = make_factors()
    model.embed_corpus(corpus)
    users = model.embed_users(
        tf.zeros((2, 0, DIM)),
        tf.zeros((2, 0), tf.bool),
        tf.zeros((2, FEATURE_DIM)),
        tf.zeros([2], tf.bool),
    )
    np.testing.assert_array_equal(users, np.zeros((2, DIM)))


def test_constant_features_give_ids_alone() -> None:
    model = make_factors()
    start = make_start()
    model.set_start(FactorStart(**{**start.__dict__, "centre": np.zeros(6, np.float32)}))
    vectors = model.embed_corpus(np.zeros((NUM_ITEMS, FEATURE_DIM), np.float32))
    np.testing.assert_allclose(vectors, start.id_table, atol=1e-6)


def scores_by_loop(model: MatrixFactorisation, corpus: np.ndarray, batch: dict[str, Any]) -> Any:
    """Scores of each positive and of the negatives that its user did not take."""
    start = make_start()
    items = model.embed_items(corpus, tf.range(NUM_ITEMS)).numpy()
    texts = model.text_projection(batch["user_features"]).numpy()
    for row, sequence in enumerate(batch["sequences"].numpy()):
        own = [i for i in sequence if i >= 0]
        hidden = bool(batch["hide_history"][row])
        for place, item in enumerate(own):
            known = [] if hidden else [items[i] for j, i in enumerate(own) if j != place]
            known += [texts[row]] if batch["user_text_mask"][row] else []
            side = np.mean(known, axis=0) @ model.side.kernel.numpy() if known else 0.0
            base = 0.0 if hidden else start.user_table[int(batch["user_numbers"][row])]
            user = start.score_scale * (base + side) / model.temperature
            others = [n for n in batch["negatives"].numpy() if n not in own]
            yield user @ items[item], np.array([user @ items[n] for n in others])


@pytest.mark.parametrize("loss", ["bpr", "warp"])
def test_the_loss_is_that_of_each_positive_alone(
    loss: str, corpus: np.ndarray, make_batch: Make
) -> None:
    model, batch = make_factors(loss), make_batch(user_numbers=[0, 3, 1, 2])
    pairs = list(scores_by_loop(model, corpus, batch))
    if loss == "bpr":
        every = np.concatenate([np.logaddexp(0.0, others - own) for own, others in pairs])
        expected = every.mean()
    else:
        losses = []
        for own, others in pairs:
            hinge = np.maximum(0.0, 1.0 - own + others)
            rank = np.floor((hinge > 0).mean() * (NUM_ITEMS - 1))
            losses.append(np.log1p(rank) * hinge[hinge > 0].mean() if (hinge > 0).any() else 0.0)
        expected = np.mean(losses)
    assert float(model.training_loss(batch)) == pytest.approx(expected, rel=1e-3)


@pytest.mark.parametrize("loss", LOSSES)
def test_every_part_learns(loss: str, make_batch: Make) -> None:
    model, batch = make_factors(loss), make_batch(user_numbers=[0, 3, 1, 2])
    model.text_projection.residual.kernel.assign(np.full((256, DIM), 0.1))
    with tf.GradientTape() as tape:
        value = model.training_loss(batch)
    gradients = tape.gradient(value, [v.value for v in model.trainable_variables])
    for variable, gradient in zip(model.trainable_variables, gradients, strict=True):
        dense = tf.convert_to_tensor(gradient).numpy()
        assert np.isfinite(dense).all() and dense.any(), variable.path


@pytest.mark.parametrize("loss", LOSSES)
def test_an_item_that_nobody_took_is_no_negative(loss: str, make_batch: Make) -> None:
    share = np.linspace(0.19, 0.01, NUM_ITEMS)
    share[9] = 0.0
    numbers = {"user_numbers": [0, 3, 1, 2], "positive_share": share}
    model = make_factors(loss)
    sequences = make_batch()["sequences"].numpy()[:3]
    rows = {"sequences": sequences, "user_numbers": [0, 3, 1]}
    rows |= {k: make_batch()[k][:3] for k in ("user_features", "user_text_mask", "hide_history")}
    without = model.training_loss(make_batch(**{**numbers, **rows, "negatives": [3, 0, 5]}))
    with_it = model.training_loss(make_batch(**{**numbers, **rows, "negatives": [9, 3, 0, 9, 5]}))
    assert float(without) == pytest.approx(float(with_it), rel=1e-2)


def test_a_saved_model_serves_the_same_without_the_table_of_users(
    corpus: np.ndarray, tmp_path: Any
) -> None:
    model = make_factors(item_id_dropout=0.4, dropout=0.3)
    items = model.embed_corpus(corpus)
    save_variables(tmp_path / "model.safetensors", model.served_variables, {})
    loaded = MatrixFactorisation(**model.architecture)
    restore_variables(tmp_path / "model.safetensors", loaded.served_variables)
    arguments = (
        tf.constant(items[None, :3]),
        tf.constant([[True, False, True]]),
        tf.constant(corpus[:1]),
        tf.constant([True]),
    )
    np.testing.assert_allclose(
        model.embed_users(*arguments), loaded.embed_users(*arguments), atol=1e-6
    )
    np.testing.assert_allclose(loaded.embed_corpus(corpus), items, atol=1e-6)
    assert all(tuple(v.shape) != (NUM_USERS, DIM) for v in loaded.variables)


def test_a_model_for_serving_says_that_it_cannot_be_trained(make_batch: Make) -> None:
    with pytest.raises(ValueError, match="num_users"):
        make_factors(num_users=0).training_loss(make_batch())


def test_an_unknown_loss_is_refused() -> None:
    with pytest.raises(ValueError, match="one of bpr, warp, softmax, got 'hinge'"):
        make_factors("hinge")


@pytest.mark.parametrize("name", ["num_items", "embedding_dim"])
def test_a_size_below_one_is_refused(name: str) -> None:
    sizes = {"num_items": 2, "embedding_dim": 2, name: 0}
    with pytest.raises(ValueError, match=f"`{name}` must be at least 1"):
        MatrixFactorisation(**sizes, feature_dim=3)


def test_users_are_numbered_alike_in_pairs_and_in_batches() -> None:
    from tfrec_llm.trainer.sequences import SequenceDataset

    ids = ["u10", "u9", "u10", "v", "u9", "v"]
    frame = pl.DataFrame({"user_id": ids, "item_number": [0, 1, 2, 3, 4, 5], "position": range(6)})
    pairs = Interactions.from_frame(frame.sort("user_id"), 6)
    batch = next(SequenceDataset(frame, 4).batches(9, seed=1, epoch=1))
    for sequence, number in zip(batch.sequences, batch.user_numbers, strict=True):
        assert pairs.matrix[number].indices.tolist() == sequence.tolist()
