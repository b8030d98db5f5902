from __future__ import annotations

import importlib.util
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tfrec_llm.keras_api import keras, tf
from tfrec_llm.models.two_tower_model import TwoTowerModel, _sample_rows
from tfrec_llm.models.variables_file import restore_variables, save_variables
from tfrec_llm.towers.history_encoder import KINDS
from tfrec_llm.towers.starts import ItemTowerStart

Make = Callable[..., Any]


def gradients(model: TwoTowerModel, batch: dict[str, Any]) -> tuple[float, dict[str, np.ndarray]]:
    with tf.GradientTape() as tape:
        loss = model.training_loss(batch)
    weights = {v.path: v.value for v in model.trainable_variables}
    found = tape.gradient(loss, weights, unconnected_gradients="zero")
    return float(loss), {name: np.asarray(tf.convert_to_tensor(g)) for name, g in found.items()}


@pytest.fixture(scope="module")
def loss_by_loops() -> Callable[..., float]:
    path = Path(__file__).resolve().parents[1] / "reference" / "numpy_retrieval_loss.py"
    spec = importlib.util.spec_from_file_location("numpy_retrieval_loss", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.retrieval_loss


@pytest.mark.parametrize("kind", KINDS)
def test_the_training_loss_is_that_of_every_prefix_served_as_a_request(
    kind: str, make_model: Make, make_batch: Make, corpus: np.ndarray, loss_by_loops: Any
) -> None:
    model, batch = make_model(kind, temperature=0.3), make_batch()
    items = model.embed_corpus(corpus)
    queries, positives, owners = [], [], []
    for user, sequence in enumerate(batch["sequences"].numpy()):
        hidden = bool(batch["hide_history"][user])
        has_text = batch["user_text_mask"][user : user + 1]
        taken = sequence[sequence >= 0]
        # A text alone can foretell the first item too; a history needs one item before.
        begin = 0 if hidden else 1
        for place in range(begin, len(taken)):
            seen = np.zeros(0, np.int32) if hidden else taken[:place]
            queries.append(
                model.embed_users(
                    tf.constant(items[seen][None]),
                    tf.ones((1, len(seen)), tf.bool),
                    batch["user_features"][user : user + 1],
                    has_text,
                ).numpy()[0]
            )
            positives.append(int(taken[place]))
            owners.append(user)
    assert len(positives) == 3 + 4 + 3
    candidates = [*positives, *batch["negatives"].numpy().tolist()]
    share = batch["positive_share"].numpy()
    wanted = loss_by_loops(np.array(queries), items[candidates], candidates, owners, share, 0.3)
    assert float(model.training_loss(batch)) == pytest.approx(wanted, abs=1e-4)


@pytest.mark.parametrize("kind", KINDS)
def test_every_weight_learns_something_finite(
    kind: str, make_model: Make, make_batch: Make
) -> None:
    _, found = gradients(make_model(kind), make_batch())
    for name, gradient in found.items():
        assert np.isfinite(gradient).all(), name
        # The softmax of attention does not see a constant added to every key.
        if "key/bias" not in name:
            assert np.any(gradient), f"{name} learns nothing"


def test_in_a_graph_the_loss_is_the_same(make_model: Make, make_batch: Make) -> None:
    model, batch = make_model(), make_batch()
    in_graph = tf.function(model.training_loss)(batch)
    assert float(in_graph) == pytest.approx(float(model.training_loss(batch)), abs=1e-5)


def test_more_padding_does_not_change_the_loss(make_model: Make, make_batch: Make) -> None:
    model, batch = make_model(), make_batch()
    wider = dict(batch)
    wider["sequences"] = tf.pad(batch["sequences"], [[0, 0], [2, 0]], constant_values=-1)
    assert float(model.training_loss(wider)) == pytest.approx(
        float(model.training_loss(batch)), abs=1e-5
    )


def test_a_hidden_history_teaches_by_the_text_alone(make_model: Make, make_batch: Make) -> None:
    model = make_model()
    everyone = {"hide_history": [True] * 4, "user_text_mask": [True] * 4}
    loss, found = gradients(model, make_batch(**everyone))
    assert loss > 0
    of_history = {k: g for k, g in found.items() if "history" in k}
    assert of_history and not any(np.any(g) for g in of_history.values())
    assert any(np.any(g) for k, g in found.items() if "text" in k)

    # Other users' texts, other loss; the order of the hidden items counts for nothing.
    other = make_batch(**everyone, user_features=np.ones((4, 6)))
    assert float(model.training_loss(other)) != pytest.approx(loss, abs=1e-4)
    turned = [[-1, 4, 1, 3, 0], [2, 6, 3, 5, 7], [-1, -1, 1, 8, 2], [-1, -1, -1, -1, 9]]
    same = model.training_loss(make_batch(**everyone, sequences=turned))
    assert float(same) == pytest.approx(loss, abs=1e-5)


def test_a_hidden_history_without_a_text_teaches_nothing(
    make_model: Make, make_batch: Make
) -> None:
    nothing = make_batch(hide_history=[True] * 4, user_text_mask=[False] * 4)
    loss, found = gradients(make_model(), nothing)
    assert loss == 0.0
    assert not any(np.any(gradient) for gradient in found.values())


def test_max_positives_keeps_that_many_positions_drawn_by_the_seed(
    make_model: Make, make_batch: Make
) -> None:
    model = make_model()
    losses = [
        float(model.training_loss(make_batch(max_positives=most, seed=seed)))
        for most, seed in [(10, [1, 2]), (10, [3, 4]), (3, [1, 2]), (3, [1, 2]), (3, [3, 4])]
    ]
    assert losses[0] == pytest.approx(losses[1], abs=1e-6)  # there are ten, nothing is drawn
    assert losses[2] == losses[3]
    assert losses[2] != pytest.approx(losses[4], abs=1e-4)
    assert np.isfinite(losses).all()


def test_sampled_rows_are_distinct_rows_and_every_row_has_its_turn() -> None:
    rows = tf.constant([[i, i * i] for i in range(6)])
    turns = set()
    for seed in range(20):
        found = _sample_rows(rows, 3, [seed, 1]).numpy().tolist()
        assert len(found) == 3 and len({tuple(row) for row in found}) == 3
        assert all(row in rows.numpy().tolist() for row in found)
        turns |= {row[0] for row in found}
    assert turns == set(range(6))


def test_the_text_search_loss_is_added_with_its_weight(
    make_model: Make, make_batch: Make, corpus: np.ndarray
) -> None:
    model, batch = make_model(), make_batch()
    drawn = batch["negatives"]
    search = float(
        model.text_search_loss(
            drawn,
            model.embed_items(tf.gather(batch["corpus_features"], drawn), drawn),
            batch["corpus_features"],
            batch["seed"],
        )
    )
    assert search > 0
    plain = float(model.training_loss(batch))
    without = float(model.training_loss({**batch, "text_search_weight": 0.0}))
    weighed = float(model.training_loss({**batch, "text_search_weight": 0.5}))
    assert without == pytest.approx(plain, abs=1e-6)
    assert weighed == pytest.approx(plain + 0.5 * search, abs=1e-5)


def test_a_text_search_asks_by_text_and_leaves_the_user_tower_alone(
    make_model: Make, make_batch: Make
) -> None:
    nobody = {"hide_history": [True] * 4, "user_text_mask": [False] * 4}
    batch = {**make_batch(**nobody), "text_search_weight": 1.0}
    loss, found = gradients(make_model(), batch)
    assert loss > 0
    for name, gradient in found.items():
        assert np.isfinite(gradient).all()
        assert not ("history" in name or "text_weight" in name) or not np.any(gradient), name
    assert any(np.any(g) for name, g in found.items() if "linear" in name)


def test_without_uniform_draws_the_loss_stays_finite(make_model: Make, make_batch: Make) -> None:
    batch = {**make_batch(negatives=[]), "text_search_weight": 1.0}
    loss, found = gradients(make_model(), batch)
    assert np.isfinite(loss) and loss > 0
    assert all(np.isfinite(gradient).all() for gradient in found.values())


def test_embed_corpus_does_not_depend_on_the_batch_size(
    make_model: Make, corpus: np.ndarray
) -> None:
    model = make_model()
    whole = model.embed_corpus(corpus)
    np.testing.assert_allclose(model.embed_corpus(corpus, batch_size=3), whole, atol=1e-6)
    np.testing.assert_allclose(whole, model.embed_items(corpus, tf.range(10)), atol=1e-6)
    assert model.embed_corpus(corpus[:0]).shape == (0, 4)


def test_user_text_and_item_text_share_a_space(make_model: Make, corpus: np.ndarray) -> None:
    """A user whose text is that of an item, and nothing else, asks for that item."""
    model = make_model("mean")
    model.user_tower.learned_text_weight.assign(0.5)
    nothing, no_mask = tf.zeros((10, 0, 4)), tf.zeros((10, 0), tf.bool)
    users = model.embed_users(nothing, no_mask, corpus, tf.ones([10], tf.bool))
    items = model.embed_items(corpus, tf.fill([10], -1))
    np.testing.assert_allclose(users, items, atol=1e-5)


def test_set_start_reaches_text_and_ids(make_model: Make, corpus: np.ndarray) -> None:
    model = make_model()
    generator = np.random.default_rng(3)
    start = ItemTowerStart(
        *(generator.normal(size=s).astype(np.float32) for s in ((6,), (6, 4), (4,), (10, 4)))
    )
    model.set_start(start)
    model.item_tower.text_projection.residual.kernel.assign(np.zeros((256, 4)))
    model.item_tower.text_projection.residual.bias.assign(np.zeros(4))
    unit = corpus / np.linalg.norm(corpus, axis=1, keepdims=True)
    wanted = (unit - start.centre) @ start.kernel + start.bias + start.id_table
    wanted /= np.linalg.norm(wanted, axis=1, keepdims=True)
    np.testing.assert_allclose(model.embed_corpus(corpus), wanted, atol=1e-5)


def test_every_weight_is_among_the_variables(make_model: Make) -> None:
    paths = [v.path for v in make_model().variables]
    for part in ("table", "centre", "linear/kernel", "log_weights", "text_weight"):
        assert any(part in path for path in paths), part
    assert any("log_temperature" in path for path in paths)
    assert any("seed" in path for path in paths)  # random states resume too


def trained_step(model: TwoTowerModel, batch: dict[str, Any]) -> list[np.ndarray]:
    """Returns loss, gradients and random states of a step in a graph, as training takes it."""
    weights = [v.value for v in model.trainable_variables]

    @tf.function
    def step(batch: dict[str, Any]) -> Any:
        with tf.GradientTape() as tape:
            loss = model.training_loss({**batch, "text_search_weight": 0.5})
        found = tape.gradient(loss, weights, unconnected_gradients="zero")
        return loss, [tf.convert_to_tensor(gradient) for gradient in found]

    loss, found = step(batch)
    states = [v.value for v in model.variables if "seed" in v.path]
    return [np.asarray(value) for value in (loss, *found, *states)]


@pytest.mark.parametrize("rows", [3, 100])
@pytest.mark.parametrize("features", ["one vector", "token vectors"])
def test_a_gradient_cache_changes_neither_loss_nor_gradients(
    features: str, rows: int, make_model: Make, make_batch: Make
) -> None:
    options: dict[str, Any] = {}
    changes: dict[str, Any] = {}
    if features == "token vectors":
        options = {"pooling": "attention", "pooling_options": {"heads": 2}}
        generator = np.random.default_rng(9)
        changes = {
            "corpus_features": generator.normal(size=(10, 5, 6)),
            "user_features": generator.normal(size=(4, 5, 6)),
        }
    plain, cached = (
        trained_step(
            make_model("mean", gradient_cache_rows=r, item_tower=options), make_batch(**changes)
        )
        for r in (None, rows)
    )
    for wanted, found in zip(plain, cached, strict=True):
        np.testing.assert_allclose(found, wanted, atol=2e-6)


def test_with_drop_out_a_gradient_cache_of_one_chunk_is_the_plain_step(
    make_model: Make, make_batch: Make
) -> None:
    options = {"item_id_dropout": 0.4, "dropout": 0.3, "seed": 3}
    steps = []
    for rows in (None, 100):
        keras.utils.set_random_seed(1)  # of the drop-out of text and of history
        model = make_model("mean", gradient_cache_rows=rows, item_tower=options)
        steps.append(trained_step(model, make_batch()))
    plain, cached = steps
    for wanted, found in zip(plain, cached, strict=True):
        np.testing.assert_allclose(found, wanted, atol=2e-6)


def test_with_a_gradient_cache_the_item_tower_sees_a_chunk_at_a_time(
    make_model: Make, make_batch: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    model, sizes = make_model("mean", gradient_cache_rows=3), []
    embed = model.item_tower.call

    def recorded(features: Any, numbers: Any, training: bool = False) -> Any:
        sizes.append(int(tf.shape(numbers)[0]))
        return embed(features, numbers, training=training)

    monkeypatch.setattr(model.item_tower, "call", recorded)
    model.training_loss(make_batch())
    assert sizes == [3, 3, 3, 2]  # ten items and the padding


def test_a_gradient_cache_without_rows_is_an_error(make_model: Make) -> None:
    with pytest.raises(ValueError, match="`gradient_cache_rows` must be at least 1, got 0"):
        make_model(gradient_cache_rows=0)


def test_the_queue_is_in_the_checkpoint_but_not_in_what_is_served(
    make_model: Make, make_batch: Make, corpus: np.ndarray, tmp_path: Path
) -> None:
    with_queue = make_model(task_options={"queue_size": 16})
    losses = [float(with_queue.training_loss(make_batch())) for _ in range(2)]
    assert losses[1] > losses[0]  # ten positives and five draws of the first step are still there
    assert sum("queue" in v.path for v in with_queue.variables) == 4
    save_variables(tmp_path / "towers.safetensors", with_queue.served_variables, {})
    served = make_model()
    served.item_tower.id_embedding.table.assign(np.zeros((10, 4)))
    restore_variables(tmp_path / "towers.safetensors", served.served_variables)
    np.testing.assert_allclose(
        served.embed_corpus(corpus), with_queue.embed_corpus(corpus), atol=1e-6
    )


def test_the_text_search_leaves_the_queue_alone(make_model: Make, make_batch: Make) -> None:
    plain, with_queue = make_model(), make_model(task_options={"queue_size": 16})
    batch = {**make_batch(), "text_search_weight": 0.5}
    assert float(with_queue.training_loss(batch)) == pytest.approx(
        float(plain.training_loss(batch)), abs=1e-5
    )
    assert int(with_queue.task.queue.next_slot.numpy()) == 15  # the candidates of the clicks
