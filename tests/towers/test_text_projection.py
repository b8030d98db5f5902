from __future__ import annotations

import numpy as np

from tfrec_llm.keras_api import tf
from tfrec_llm.testing.layer_checks import check_layer, randomise
from tfrec_llm.towers.text_projection import TextProjection


def features(count: int = 5) -> np.ndarray:
    return np.random.default_rng(3).normal(size=(count, 6)).astype(np.float32)


def started(dropout: float = 0.0) -> tuple[TextProjection, np.ndarray]:
    """A projection at a start, and what the start says of `features()`."""
    generator = np.random.default_rng(4)
    centre, kernel, bias = (generator.normal(size=s) for s in ((6,), (6, 4), (4,)))
    layer = TextProjection(4, hidden_dim=8, dropout=dropout)
    layer.build((None, 6))
    layer.set_start(centre, kernel, bias)
    unit = features() / np.linalg.norm(features(), axis=1, keepdims=True)
    return layer, (unit - centre) @ kernel + bias


def test_it_is_a_sound_layer() -> None:
    check_layer(TextProjection(4, hidden_dim=8, dropout=0.2), {"text_features": features()})


def test_it_starts_as_the_linear_map_it_was_given() -> None:
    layer, wanted = started()
    np.testing.assert_allclose(layer(features()), wanted, atol=1e-5)


def test_the_network_adds_nothing_at_the_start_even_with_drop_out() -> None:
    layer, wanted = started(dropout=0.5)
    np.testing.assert_allclose(layer(features(), training=True), wanted, atol=1e-5)


def test_the_network_can_learn() -> None:
    layer, wanted = started()
    randomise(layer.residual)
    assert np.abs(np.asarray(layer(features())) - wanted).max() > 1e-3


def test_the_length_of_a_feature_vector_does_not_matter() -> None:
    layer, _ = started()
    randomise(layer)
    np.testing.assert_allclose(layer(features() * 7.0), layer(features()), atol=1e-4)


def test_the_centre_is_not_learned() -> None:
    layer, _ = started()
    assert not any("centre" in v.path for v in layer.trainable_variables)
    assert any("centre" in v.path for v in layer.variables)


def test_a_row_does_not_depend_on_the_rows_beside_it() -> None:
    layer, _ = started()
    randomise(layer)
    together = np.asarray(layer(features()))
    np.testing.assert_allclose(layer(features()[2:3]), together[2:3], atol=1e-5)


def test_zero_features_and_no_features_give_finite_answers() -> None:
    layer, _ = started()
    assert np.isfinite(layer(np.zeros((2, 6), np.float32))).all()
    assert layer(np.zeros((0, 6), np.float32)).shape == (0, 4)


def test_features_that_say_nothing_give_zeros_and_move_no_weight():
    layer = TextProjection(2)
    layer.build((None, 1))
    layer.set_start(np.ones(1), np.ones((1, 2)), np.ones(2))
    with tf.GradientTape() as tape:
        total = tf.reduce_sum(layer(tf.ones((3, 1))))
    assert float(total) == 0.0
    assert not np.any(tape.gradient(total, layer.linear.bias.value))
