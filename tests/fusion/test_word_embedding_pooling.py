from __future__ import annotations

import json

import numpy as np
import pytest

from tfrec_llm.encoders.word_embedding_encoder import WordEmbeddingEncoder
from tfrec_llm.encoders.word_vocabulary import WordVocabulary
from tfrec_llm.fusion.padding_mask import mask_of_features
from tfrec_llm.fusion.word_embedding_pooling import WordEmbeddingPooling
from tfrec_llm.keras_api import keras, tf


def numbers(*rows: list[int]) -> np.ndarray:
    """Word numbers as the encoder gives them, -1 at padding."""
    table = np.array(rows)[..., None]
    pairs = np.concatenate([table // 1024 + 1, table % 1024], axis=-1)
    return np.where(table < 0, 0, pairs).astype(np.float32)


def test_a_text_is_the_mean_of_its_words():
    layer = WordEmbeddingPooling(num_words=2000, dim=3)
    features = numbers([0, 1500, -1], [-1, 7, 7], [-1, -1, -1])
    found = layer(features, mask_of_features(features)).numpy()
    words = layer.table.numpy()
    expected = [(words[0] + words[1500]) / 2, words[7], np.zeros(3)]
    np.testing.assert_allclose(found, expected, atol=1e-6)


def test_it_reads_what_the_encoder_gives():
    encoder = WordEmbeddingEncoder(WordVocabulary(["red", "sea"]), max_tokens=4)
    layer = WordEmbeddingPooling(encoder.num_words, dim=3)
    features = encoder.encode(["sea", "red sea", ""])
    found = layer(features, mask_of_features(features)).numpy()
    words = layer.table.numpy()
    np.testing.assert_allclose(found, [words[1], words.mean(axis=0), np.zeros(3)], atol=1e-6)


def test_the_layer_survives_json_and_is_the_same_in_a_graph():
    layer = WordEmbeddingPooling(num_words=5, dim=3, seed=2)
    features = numbers([0, 4, -1], [3, -1, -1])
    eager = layer(features, mask_of_features(features)).numpy()
    config = json.loads(json.dumps(keras.saving.serialize_keras_object(layer)))
    again = keras.saving.deserialize_keras_object(config)
    specs = [tf.TensorSpec([None, None, 2]), tf.TensorSpec([None, None], tf.bool)]
    compiled = tf.function(again.__call__, input_signature=specs)
    np.testing.assert_allclose(compiled(features, mask_of_features(features)), eager, atol=1e-6)


def test_what_stands_at_padding_is_not_read():
    layer = WordEmbeddingPooling(num_words=5, dim=3)
    features, mask = numbers([0, 4, 1]), np.array([[1, 0, 1]])
    other = features.copy()
    other[0, 1] = np.nan
    np.testing.assert_allclose(layer(features, mask), layer(other, mask), atol=1e-6)


def test_only_words_that_occur_are_moved():
    layer = WordEmbeddingPooling(num_words=4, dim=2)
    features = numbers([0, 2, -1])
    with tf.GradientTape() as tape:
        total = tf.reduce_sum(layer(features, mask_of_features(features)))
    gradient = tf.convert_to_tensor(tape.gradient(total, layer.table.value)).numpy()
    assert gradient.tolist() == [[0.5, 0.5], [0.0, 0.0], [0.5, 0.5], [0.0, 0.0]]


def test_the_start_is_seeded_and_about_of_unit_length():
    tables = []
    for seed in (0, 0, 1):
        layer = WordEmbeddingPooling(num_words=300, dim=64, seed=seed)
        layer.build()
        tables.append(layer.table.numpy())
    assert np.array_equal(tables[0], tables[1]) and not np.array_equal(tables[0], tables[2])
    assert np.linalg.norm(tables[0], axis=1).mean() == pytest.approx(1.0, abs=0.05)


def test_no_texts_give_no_rows():
    layer = WordEmbeddingPooling(num_words=4, dim=2)
    assert layer(np.zeros((0, 3, 2), np.float32), np.zeros((0, 3), bool)).shape == (0, 2)


def test_a_layer_without_words_is_refused():
    with pytest.raises(ValueError, match="must be at least 1, got 0 and 2"):
        WordEmbeddingPooling(num_words=0, dim=2)
