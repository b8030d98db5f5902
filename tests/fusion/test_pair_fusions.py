"""The fusions of the tokens of a user with those of an item."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tfrec_llm.fusion.correlation_fusion import CorrelationFusion
from tfrec_llm.fusion.token_concat import TokenConcat
from tfrec_llm.keras_api import keras, tf
from tfrec_llm.testing.layer_checks import check_layer, randomise

FUSIONS = (TokenConcat, CorrelationFusion)


@keras.saving.register_keras_serializable(package="tests")
class ConcatenatedTokens(TokenConcat):
    """The tokens without their mask, which is what `check_layer` can read."""

    def call(self, user_tokens: Any, user_mask: Any, item_tokens: Any, item_mask: Any) -> Any:
        return super().call(user_tokens, user_mask, item_tokens, item_mask)[0]


@keras.saving.register_keras_serializable(package="tests")
class CorrelatedTokens(CorrelationFusion):
    """The tokens without their mask, which is what `check_layer` can read."""

    def call(self, user_tokens: Any, user_mask: Any, item_tokens: Any, item_mask: Any) -> Any:
        return super().call(user_tokens, user_mask, item_tokens, item_mask)[0]


@pytest.fixture
def pair() -> dict[str, np.ndarray]:
    """Four pairs; the third user and the fourth item have no tokens."""
    generator = np.random.default_rng(5)
    user_mask = [[1, 1, 1], [1, 0, 1], [0, 0, 0], [1, 1, 0]]
    return {
        "user_tokens": generator.normal(size=(4, 3, 4)).astype(np.float32),
        "user_mask": np.array(user_mask, np.int32),
        "item_tokens": generator.normal(size=(4, 2, 4)).astype(np.float32),
        "item_mask": np.array([[1, 1], [0, 1], [1, 0], [0, 0]], np.int32),
    }


def random(fusion: Any, pair: dict[str, np.ndarray]) -> Any:
    layer = fusion()
    layer(**pair)
    randomise(layer)
    return layer


@pytest.mark.parametrize("layer_class", [ConcatenatedTokens, CorrelatedTokens])
def test_every_fusion_is_a_sound_layer(layer_class: Any, pair: dict[str, np.ndarray]) -> None:
    masks = {"user_mask": "user_tokens", "item_mask": "item_tokens"}
    check_layer(layer_class(), pair, masks)


@pytest.mark.parametrize("fusion", FUSIONS)
def test_the_user_comes_first_then_the_item(fusion: Any, pair: dict[str, np.ndarray]) -> None:
    tokens, mask = fusion()(**pair)
    joined = np.concatenate([pair["user_tokens"], pair["item_tokens"]], axis=1)
    expected = np.concatenate([pair["user_mask"], pair["item_mask"]], axis=1) == 1
    assert mask.dtype == tf.bool and tokens.dtype == tf.float32
    np.testing.assert_array_equal(mask, expected)
    np.testing.assert_array_equal(tokens, np.where(expected[..., None], joined, 0.0))


@pytest.mark.parametrize("fusion", FUSIONS)
def test_a_mark_says_which_side_a_token_is_from(fusion: Any, pair: dict[str, np.ndarray]) -> None:
    layer = fusion()
    before, mask = layer(**pair)
    join = layer if fusion is TokenConcat else layer.join
    join.sides.assign([[1.0, 0.0, 0.0, 0.0], [0.0, 10.0, 0.0, 0.0]])
    marks = np.array([[1.0, 0, 0, 0]] * 3 + [[0, 10.0, 0, 0]] * 2)
    expected = np.where(np.asarray(mask)[..., None], marks, 0.0)
    np.testing.assert_allclose(np.asarray(layer(**pair)[0] - before), expected, atol=1e-6)


@pytest.mark.parametrize("fusion", FUSIONS)
def test_nan_at_padding_neither_shows_nor_spreads_to_gradients(
    fusion: Any, pair: dict[str, np.ndarray]
) -> None:
    layer = random(fusion, pair)
    expected = np.asarray(layer(**pair)[0])
    for side in ("user", "item"):
        pair[f"{side}_tokens"][pair[f"{side}_mask"] == 0] = np.nan
    np.testing.assert_array_equal(layer(**pair)[0], expected)
    with tf.GradientTape() as tape:
        loss = tf.reduce_sum(layer(**pair)[0] ** 2)
    variables = [v.value for v in layer.trainable_variables]
    assert all(np.isfinite(g).all() for g in tape.gradient(loss, variables))


@pytest.mark.parametrize("fusion", FUSIONS)
def test_sides_of_no_width_and_no_rows(fusion: Any, pair: dict[str, np.ndarray]) -> None:
    layer = random(fusion, pair)
    no_item = {**pair, "item_tokens": np.zeros((4, 0, 4)), "item_mask": np.zeros((4, 0))}
    tokens, mask = layer(**no_item)
    assert tokens.shape == (4, 3, 4) and mask.shape == (4, 3)
    assert np.isfinite(tokens).all()
    no_rows = {name: value[:0] for name, value in pair.items()}
    assert layer(**no_rows)[0].shape == (0, 5, 4)


@pytest.mark.parametrize("fusion", FUSIONS)
def test_a_functional_model_can_be_saved_and_loaded(
    fusion: Any, pair: dict[str, np.ndarray], tmp_path: Path
) -> None:
    layer = random(fusion, pair)
    tokens, masks = [keras.Input((None, 4)) for _ in "ui"], [keras.Input((None,)) for _ in "ui"]
    inputs = [tokens[0], masks[0], tokens[1], masks[1]]
    model = keras.Model(inputs, layer(*inputs))
    assert [output.dtype for output in model.outputs] == ["float32", "bool"]
    assert model.outputs[0].shape == (None, None, 4)
    model.save(tmp_path / "model.keras")
    restored = keras.saving.load_model(tmp_path / "model.keras")
    found = restored(list(pair.values()))
    for one, other in zip(found, layer(**pair), strict=True):
        np.testing.assert_allclose(np.asarray(one, float), np.asarray(other, float), atol=1e-6)


@pytest.mark.parametrize("fusion", FUSIONS)
def test_answers_are_float32_under_a_bfloat16_policy(
    fusion: Any, pair: dict[str, np.ndarray]
) -> None:
    expected = np.asarray(fusion()(**pair)[0])
    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        found = fusion()(**pair)[0]
    finally:
        keras.config.set_dtype_policy("float32")
    assert found.dtype == tf.float32
    np.testing.assert_array_equal(found, expected)


def test_cross_attention_that_a_person_can_follow() -> None:
    """The item token asks for the first user token and takes it, doubled."""
    layer = CorrelationFusion()
    user = np.array([[[100.0, 0.0], [0.0, 100.0], [50.0, 50.0]]], np.float32)
    item = np.array([[[10.0, 1.0]]], np.float32)
    pair = user, np.array([[1, 1, 0]]), item, np.array([[1]])
    layer(*pair)
    for name, projection in layer.projections.items():
        size = {"item_output": 2.0, "user_output": 0.0}.get(name, 1.0)
        projection.kernel.assign(size * np.eye(2))
    tokens, _ = layer(*pair)
    np.testing.assert_allclose(tokens[0, 3], [210.0, 1.0], rtol=1e-6)
    np.testing.assert_array_equal(tokens[0, :2], user[0, :2])


def test_cross_attention_by_a_loop(pair: dict[str, np.ndarray]) -> None:
    layer = random(CorrelationFusion, pair)
    kernels = {name: dense.kernel.numpy() for name, dense in layer.projections.items()}
    found, mask = (np.asarray(part) for part in layer(**pair))
    sides = layer.join.sides.numpy()
    for side, other, mark, start in (("user", "item", sides[0], 0), ("item", "user", sides[1], 3)):
        for row, place in np.ndindex(pair[f"{side}_mask"].shape):
            if not pair[f"{side}_mask"][row, place]:
                assert not found[row, start + place].any()
                continue
            token = pair[f"{side}_tokens"][row, place]
            expected = token + mark
            others = pair[f"{other}_tokens"][row][pair[f"{other}_mask"][row] == 1]
            if len(others):
                keys, values = others @ kernels[f"{side}_key"], others @ kernels[f"{side}_value"]
                scores = keys @ (token @ kernels[f"{side}_query"]) / 2.0
                weights = np.exp(scores) / np.exp(scores).sum()
                expected = expected + weights @ values @ kernels[f"{side}_output"]
            np.testing.assert_allclose(found[row, start + place], expected, atol=1e-5)


def test_a_side_without_tokens_adds_nothing(pair: dict[str, np.ndarray]) -> None:
    layer = random(CorrelationFusion, pair)
    tokens = np.asarray(layer(**pair)[0])
    sides = layer.join.sides.numpy()
    expected = pair["item_tokens"][2, 0] + sides[1]
    np.testing.assert_allclose(tokens[2, 3], expected, atol=1e-6)


def test_the_attention_is_learned_from_the_start(pair: dict[str, np.ndarray]) -> None:
    layer = CorrelationFusion()
    layer(**pair)
    with tf.GradientTape() as tape:
        loss = tf.reduce_sum(layer(**pair)[0] ** 2)
    outputs = [layer.projections[f"{side}_output"].kernel.value for side in ("user", "item")]
    assert all(np.abs(gradient).max() > 1e-3 for gradient in tape.gradient(loss, outputs))
