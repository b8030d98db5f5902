from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np
import pytest

from tfrec_llm.encoders.encoder_part import EncoderPart
from tfrec_llm.encoders.hidden_layers import last_hidden_layers
from tfrec_llm.errors import EncoderError
from tfrec_llm.keras_api import keras, keras_nlp, tf
from tfrec_llm.testing.tiny_models import FAMILIES

READABLE = sorted(set(FAMILIES) - {"gemma3_embedder"})
FINAL_NORMS = {"gpt2": "layer_norm", "gemma3": "final_normalization"}
FINAL_NORMS |= {"qwen3": "sequence_output_layernorm", "t5": "encoder_output_layer_norm"}

TOKENS = {
    "token_ids": np.array([[5, 6, 7, 8], [9, 10, 0, 0]], np.int32),
    "padding_mask": np.array([[1, 1, 1, 1], [1, 1, 0, 0]], np.int32),
    "segment_ids": np.zeros((2, 4), np.int32),
}


@pytest.fixture(scope="module")
def backbone_of() -> Callable[[str], Any]:
    return cache(made)


def made(family: str) -> Any:
    keras.utils.set_random_seed(3)
    _, backbone = FAMILIES[family](
        num_layers=2, num_heads=2, hidden_dim=16, intermediate_dim=32, max_sequence_length=64
    )
    return EncoderPart(backbone) if family in ("t5", "gemma3_embedder") else backbone


def answer(model: Any, backbone: Any) -> np.ndarray:
    inputs = {name: tf.constant(TOKENS[name]) for name in backbone.input}
    found = model(inputs, training=False)
    return np.asarray(found["sequence_output"] if isinstance(found, dict) else found)


def cut_after_one_layer(backbone: Any) -> Any:
    """The same language model, made anew with one layer and the same weights."""
    config = backbone.get_config()
    config.get("whole", config)["num_layers"] = 1
    twin = type(backbone).from_config(config)
    for layer in twin.layers:
        layer.set_weights(backbone.get_layer(layer.name).get_weights())
    return twin


@pytest.mark.parametrize("family", READABLE)
def test_one_layer_is_the_output_of_the_backbone(
    family: str, backbone_of: Callable[[str], Any]
) -> None:
    backbone = backbone_of(family)
    found = answer(last_hidden_layers(backbone, 1), backbone)
    np.testing.assert_allclose(found, answer(backbone, backbone), atol=1e-6)


@pytest.mark.parametrize("family", READABLE)
def test_the_layer_before_is_a_language_model_that_ends_there(
    family: str, backbone_of: Callable[[str], Any]
) -> None:
    backbone = backbone_of(family)
    found = answer(last_hidden_layers(backbone, 2), backbone)
    assert found.shape == (2, 4, 32)
    np.testing.assert_allclose(found[..., 16:], answer(backbone, backbone), atol=1e-6)
    before = found[..., :16]
    if family in FINAL_NORMS:
        before = np.asarray(backbone.get_layer(FINAL_NORMS[family])(before))
    twin = cut_after_one_layer(backbone)
    seen = TOKENS["padding_mask"] == 1
    np.testing.assert_allclose(before[seen], answer(twin, backbone)[seen], atol=1e-5)


def test_bert_layer_by_layer(backbone_of: Callable[[str], Any]) -> None:
    backbone = backbone_of("bert")
    hidden = backbone.token_embedding(TOKENS["token_ids"])
    hidden = hidden + backbone.position_embedding(hidden)
    hidden = hidden + backbone.segment_embedding(TOKENS["segment_ids"])
    hidden = backbone.embeddings_layer_norm(hidden)
    states = []
    for layer in backbone.transformer_layers:
        hidden = layer(hidden, padding_mask=TOKENS["padding_mask"])
        states.append(np.asarray(hidden))
    found = answer(last_hidden_layers(backbone, 2), backbone)
    np.testing.assert_allclose(found, np.concatenate(states, axis=-1), atol=1e-5)


def test_the_earliest_layer_comes_first_and_all_can_be_had() -> None:
    keras.utils.set_random_seed(1)
    backbone = keras_nlp.models.DistilBertBackbone(
        vocabulary_size=99, num_layers=4, num_heads=2, hidden_dim=4, intermediate_dim=8
    )
    every = answer(last_hidden_layers(backbone, 4), backbone)
    for number in (1, 2, 3):
        found = answer(last_hidden_layers(backbone, number), backbone)
        np.testing.assert_allclose(found, every[..., -4 * number :], atol=1e-6)


def test_weights_are_shared_with_the_backbone(backbone_of: Callable[[str], Any]) -> None:
    backbone = backbone_of("distil_bert")
    model = last_hidden_layers(backbone, 2)
    assert {id(w) for w in model.weights} <= {id(w) for w in backbone.weights}


def test_the_backbone_itself_stays_as_it_was(backbone_of: Callable[[str], Any]) -> None:
    backbone = backbone_of("albert")
    before = answer(backbone, backbone)
    last_hidden_layers(backbone, 2)
    assert len(backbone.transformer_layers) == 1
    np.testing.assert_allclose(answer(backbone, backbone), before, atol=1e-6)


@pytest.mark.parametrize("num_layers", [0, 3])
def test_more_layers_than_there_are_is_refused(
    num_layers: int, backbone_of: Callable[[str], Any]
) -> None:
    with pytest.raises(EncoderError, match=f"last {num_layers} .* has 2. Set .* from 1 to 2"):
        last_hidden_layers(backbone_of("albert"), num_layers)


@pytest.mark.needs("keras-nlp>=0.26", "before, Gemma 3 gave no vectors of texts")
def test_an_embedder_with_projections_of_its_own_is_refused(
    backbone_of: Callable[[str], Any],
) -> None:
    with pytest.raises(EncoderError, match="cannot be read one by one. Choose another"):
        last_hidden_layers(backbone_of("gemma3_embedder"), 1)
