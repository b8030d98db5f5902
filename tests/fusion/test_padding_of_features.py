from __future__ import annotations

import numpy as np

from tfrec_llm.fusion.masked_softmax import masked_softmax
from tfrec_llm.fusion.mean_pooling import MeanPooling
from tfrec_llm.fusion.padding_mask import mask_of_features, mean_of_tokens
from tfrec_llm.keras_api import tf


def test_a_row_of_zeros_is_padding() -> None:
    features = tf.constant([[[0.0, -1.0], [0.0, 0.0], [1.0, 0.0]]])
    assert mask_of_features(features).numpy().tolist() == [[True, False, True]]


def test_half_precision_and_open_shapes_do_as_well() -> None:
    spec = [tf.TensorSpec([None, None, 2], tf.float16)]
    in_graph = tf.function(mask_of_features, input_signature=spec)
    found = in_graph(tf.constant([[[6e-8, 0.0], [0.0, 0.0]]], tf.float16))
    assert found.dtype == tf.bool and found.numpy().tolist() == [[True, False]]


def test_the_mean_in_numpy_is_that_of_the_layer(
    tokens: np.ndarray, padding_mask: np.ndarray
) -> None:
    features = np.where(padding_mask[..., None] == 1, tokens, 0.0).astype(np.float32)
    expected = np.asarray(MeanPooling()(features, mask_of_features(features)))
    np.testing.assert_allclose(mean_of_tokens(features), expected, atol=1e-6)


def test_softmax_weights_sum_to_one_or_to_zero() -> None:
    scores = tf.constant([[1e30, -1e30, 5.0], [-200.0, -201.0, 0.0], [1.0, 2.0, 3.0]])
    mask = tf.constant([[False, True, True], [True, True, False], [False, False, False]])
    found = masked_softmax(scores, mask).numpy()
    np.testing.assert_allclose(found.sum(axis=1), [1.0, 1.0, 0.0], rtol=1e-6)
    np.testing.assert_allclose(found[1, 0] / found[1, 1], np.e, rtol=1e-5)
    assert not found[~mask.numpy()].any()


def test_a_softmax_over_nothing_is_nothing() -> None:
    assert masked_softmax(tf.zeros((2, 0)), tf.zeros((2, 0), tf.bool)).shape == (2, 0)
