from __future__ import annotations

import numpy as np

from tfrec_llm.encoders.load_encoder import load_encoder
from tfrec_llm.encoders.no_text_encoder import NoTextEncoder
from tfrec_llm.keras_api import tf
from tfrec_llm.models.two_tower_model import TwoTowerModel
from tfrec_llm.towers.item_tower import ItemTower
from tfrec_llm.towers.starts import factorise_clicks, start_item_tower
from tfrec_llm.towers.unit_length import unit_length
from tfrec_llm.towers.user_tower import UserTower


def test_every_text_has_the_same_feature():
    encoder = NoTextEncoder()
    assert encoder.encode(["a", ""]).tolist() == [[1.0], [1.0]]
    assert np.array_equal(encoder.embed(tf.constant(["a", ""])), encoder.encode(["a", ""]))
    assert encoder.encode([]).shape == (0, 1)


def test_a_saved_encoder_comes_back_the_same(tmp_path):
    NoTextEncoder().save(tmp_path / "encoder")
    assert load_encoder(tmp_path / "encoder").fingerprint == NoTextEncoder().fingerprint


def test_a_start_without_text_leaves_unclicked_items_at_zero():
    histories = [np.array([0, 1, 2]), np.array([3, 4, 5])] * 5
    factors = factorise_clicks(histories, 8, num_factors=6)
    features = NoTextEncoder().encode(["text"] * 8)
    start = start_item_tower(factors, features, 4)
    assert not start.kernel.any() and not start.bias.any() and not start.id_table[6:].any()
    model = TwoTowerModel(ItemTower(8, embedding_dim=4), UserTower("mean"), feature_dim=1)
    model.set_start(start)
    vectors = np.asarray(model.embed_corpus(features))
    likeness = vectors @ vectors.T
    assert not vectors[6:].any()  # they tie with each other at any query
    assert likeness[:3, :3].min() > 0.5 > likeness[:3, 3:6].max()


def test_without_text_and_clicks_all_items_tie():
    factors = factorise_clicks([], 3, num_factors=2)
    start = start_item_tower(factors, np.ones((3, 1), np.float32), 2)
    assert not start.id_table.any() and np.isfinite(start.centre).all()


def test_a_zero_vector_does_not_outweigh_others_in_a_gradient():
    vectors = tf.constant([[0.0, 0.0], [3.0, 4.0]])
    with tf.GradientTape() as tape:
        tape.watch(vectors)
        total = tf.reduce_sum(unit_length(vectors))
    assert np.abs(tape.gradient(total, vectors)).max() <= 1.0
