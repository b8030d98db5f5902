from __future__ import annotations

import numpy as np
import pytest

from tfrec_llm.fusion.attention_pooling import AttentionPooling
from tfrec_llm.fusion.recurrent_pooling import RecurrentPooling
from tfrec_llm.fusion.weighted_pooling import WeightedPooling
from tfrec_llm.keras_api import keras
from tfrec_llm.testing.layer_checks import check_layer, randomise


def test_a_weighted_mean_that_a_person_can_add_up() -> None:
    """Scores 0 and ln 3 weigh 1/4 and 3/4."""
    layer = WeightedPooling()
    layer.build((None, None, 2))
    layer.scorer.assign([np.log(3.0), 0.0])
    tokens = np.array([[[0.0, 8.0], [1.0, 4.0], [7.0, 7.0]]], np.float32)
    found = np.asarray(layer(tokens, np.array([[1, 1, 0]])))
    np.testing.assert_allclose(found, [[0.75, 5.0]], rtol=1e-6)


def test_each_head_weighs_its_own_share_of_the_features() -> None:
    """Head 1 asks for the first token, head 2 for the second."""
    layer = AttentionPooling(2)
    layer.build((None, None, 4))
    layer.query.assign(200.0 * np.array([[1, 0], [0, 1], [0, 0], [0, 0]]))
    tokens = np.array([[[1.0, 0.0, 3.0, 4.0], [0.0, 1.0, 7.0, 8.0]]], np.float32)
    found = np.asarray(layer(tokens, np.ones((1, 2))))
    np.testing.assert_allclose(found, [[1.0, 0.0, 7.0, 8.0]], atol=1e-6)


def test_one_head_is_weighted_pooling(tokens: np.ndarray, padding_mask: np.ndarray) -> None:
    attention, weighted = AttentionPooling(1), WeightedPooling()
    attention.build((None, None, 6))
    weighted.build((None, None, 6))
    randomise(attention)
    weighted.scorer.assign(attention.query.numpy()[:, 0] / np.sqrt(6.0))
    expected = np.asarray(weighted(tokens, padding_mask))
    np.testing.assert_allclose(attention(tokens, padding_mask), expected, atol=1e-6)


def test_attention_by_a_loop_over_heads(tokens: np.ndarray, padding_mask: np.ndarray) -> None:
    layer = AttentionPooling(3)
    layer.build((None, None, 6))
    randomise(layer)
    found = np.asarray(layer(tokens, padding_mask))
    for row, column in np.ndindex(4, 6):
        seen = tokens[row][padding_mask[row] == 1]
        scores = seen @ layer.query.numpy()[:, column // 2] / np.sqrt(6.0)
        weights = np.exp(scores) / np.exp(scores).sum()
        expected = float(weights @ seen[:, column])
        assert found[row, column] == pytest.approx(expected, abs=1e-5)


@pytest.mark.parametrize("size", [-1e4, 1e4])
def test_large_scores_give_no_nan(size: float) -> None:
    layer = WeightedPooling()
    layer.build((None, None, 1))
    layer.scorer.assign([size])
    found = np.asarray(layer(np.array([[[1.0], [2.0], [0.0]]], np.float32), np.array([[1, 1, 0]])))
    assert found.tolist() == [[2.0 if size > 0 else 1.0]]


def test_heads_that_do_not_divide_the_width_are_refused() -> None:
    with pytest.raises(ValueError, match="4 heads needs .* multiple of 4, got 6.*pooling_heads"):
        AttentionPooling(4).build((None, None, 6))
    with pytest.raises(ValueError, match="`num_heads` must be at least 1, got 0"):
        AttentionPooling(0)


@pytest.mark.parametrize("kind", ["lstm", "gru"])
def test_a_recurrent_pooling_is_a_sound_layer(
    kind: str, tokens: np.ndarray, padding_mask: np.ndarray
) -> None:
    inputs = {"token_embeddings": tokens, "padding_mask": padding_mask != 0}
    check_layer(RecurrentPooling(kind, units=3), inputs, {"padding_mask": "token_embeddings"})


@pytest.mark.parametrize("kind", ["lstm", "gru"])
def test_padding_is_skipped_wherever_it_stands(
    kind: str, tokens: np.ndarray, padding_mask: np.ndarray
) -> None:
    """As if the tokens that count were all there is."""
    layer = RecurrentPooling(kind, units=3)
    layer.build((None, None, 6))
    randomise(layer)
    found = np.asarray(layer(tokens, padding_mask))
    for row in (0, 1, 3):
        seen = tokens[row][padding_mask[row] == 1][None]
        alone = np.asarray(layer(seen, np.ones(seen.shape[:2])))
        np.testing.assert_allclose(found[row], alone[0], atol=1e-6)
        state = layer.network(seen)
        by_hand = seen.mean(axis=1) + np.asarray(layer.residual(state))
        np.testing.assert_allclose(found[row], by_hand[0], atol=1e-6)


def test_the_order_of_the_tokens_counts(tokens: np.ndarray) -> None:
    layer = RecurrentPooling("lstm", units=3)
    layer.build((None, None, 6))
    randomise(layer)
    mask = np.ones((4, 5))
    turned = np.asarray(layer(np.ascontiguousarray(tokens[:, ::-1]), mask))
    assert np.abs(np.asarray(layer(tokens, mask)) - turned).max() > 1e-2


def test_no_recurrent_layer_takes_cudnn() -> None:
    for kind in ("lstm", "gru"):
        assert RecurrentPooling(kind).network.use_cudnn is False


def test_recurrent_weights_stay_float32_under_a_bfloat16_policy() -> None:
    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        layer = RecurrentPooling("gru", units=2)
        layer.build((None, None, 4))
    finally:
        keras.config.set_dtype_policy("float32")
    assert layer.network.compute_dtype == layer.residual.compute_dtype == "float32"


def test_arguments_out_of_bounds_are_refused() -> None:
    with pytest.raises(ValueError, match="`kind` must be one of lstm, gru, got 'rnn'"):
        RecurrentPooling("rnn")
    with pytest.raises(ValueError, match="`units` must be at least 1, got 0"):
        RecurrentPooling("gru", units=0)
