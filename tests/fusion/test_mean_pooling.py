import json

import numpy as np
import pytest

from tfrec_llm.fusion.mean_pooling import MeanPooling
from tfrec_llm.keras_api import keras, tf

TOKENS = np.array([[[1.0, 2.0], [3.0, 4.0], [8.0, 0.0]], [[5.0, 6.0], [7.0, 7.0], [9.0, 9.0]]])


def test_the_mean_of_all_tokens():
    pooled = MeanPooling()(TOKENS, np.ones((2, 3), np.int32)).numpy()
    assert pooled.tolist() == [[4.0, 2.0], [7.0, pytest.approx(22 / 3)]]


def test_padding_does_not_count():
    pooled = MeanPooling()(TOKENS, np.array([[1, 1, 0], [1, 0, 0]])).numpy()
    assert pooled.tolist() == [[2.0, 3.0], [5.0, 6.0]]


def test_padding_may_stand_anywhere():
    assert MeanPooling()(TOKENS, np.array([[0, 0, 1], [0, 1, 0]])).numpy()[0].tolist() == [8.0, 0.0]


def test_nan_at_padding_does_not_spread():
    tokens = TOKENS.copy()
    tokens[0, 2] = np.nan
    assert MeanPooling()(tokens, np.array([[1, 1, 0], [1, 1, 1]])).numpy()[0].tolist() == [2.0, 3.0]


def test_a_row_without_tokens_gives_zeros():
    assert MeanPooling()(TOKENS, np.zeros((2, 3))).numpy().tolist() == [[0.0, 0.0]] * 2


def test_no_rows_and_no_width():
    assert MeanPooling()(np.zeros((0, 3, 2)), np.zeros((0, 3))).shape == (0, 2)
    assert MeanPooling()(np.zeros((1, 0, 2)), np.zeros((1, 0))).numpy().tolist() == [[0.0, 0.0]]


def test_sums_are_float32_under_a_bfloat16_policy():
    # 513 ones: a bfloat16 sum stops at 256.
    tokens = tf.ones((1, 513, 1), tf.bfloat16)
    pooled = MeanPooling(dtype="mixed_bfloat16")(tokens, tf.ones((1, 513), tf.int32))
    assert pooled.dtype == tf.float32
    assert pooled.numpy().tolist() == [[1.0]]
    finer = MeanPooling(dtype="mixed_bfloat16")(tf.constant([[[1.001]]]), tf.ones((1, 1)))
    assert finer.numpy()[0, 0] == np.float32(1.001)


def test_it_is_the_same_compiled_and_in_a_functional_model():
    mask = np.array([[1, 1, 0], [1, 1, 1]], np.int32)
    inputs = keras.Input((None, 2)), keras.Input((None,), dtype="int32")
    model = keras.Model(inputs, MeanPooling()(*inputs))
    expected = MeanPooling()(TOKENS, mask).numpy()
    assert model.output.dtype == "float32" and model.output.shape == (None, 2)
    assert np.array_equal(model([TOKENS, mask]).numpy(), expected)
    assert np.array_equal(tf.function(MeanPooling())(TOKENS, mask).numpy(), expected)


def test_the_config_survives_json():
    config = json.loads(json.dumps(keras.saving.serialize_keras_object(MeanPooling(name="pool"))))
    assert keras.saving.deserialize_keras_object(config).name == "pool"
