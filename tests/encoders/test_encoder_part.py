"""The part of a larger model gives the vectors of the whole, and loads without the rest."""

import numpy as np
import pytest

from tfrec_llm.encoders.encoder_part import EncoderPart
from tfrec_llm.encoders.load_preset import load_preset
from tfrec_llm.encoders.presets import resolve_preset
from tfrec_llm.encoders.text_encoder import TextEncoder
from tfrec_llm.keras_api import keras, keras_nlp, tf
from tfrec_llm.testing.tiny_models import tiny_preset
from tfrec_llm.text.preprocessor import TextPreprocessor

IDS = np.array([[5, 9, 7, 1, 0], [6, 1, 0, 0, 0]])
MASK = np.array([[1, 1, 1, 1, 0], [1, 1, 0, 0, 0]])

needs_embedder = pytest.mark.needs("keras-nlp>=0.26", "before, Gemma 3 gave no vectors of texts")


def whole(folder, family):
    tiny_preset(folder, family)
    return keras_nlp.models.Backbone.from_preset(str(folder), dtype="float32")


@pytest.fixture(scope="module")
def t5_folder(tmp_path_factory):
    return tiny_preset(tmp_path_factory.mktemp("t5"), "t5")


def test_the_encoder_of_a_t5_gives_what_the_whole_gives(tmp_path):
    backbone = whole(tmp_path, "t5")
    inputs = {"encoder_token_ids": IDS, "encoder_padding_mask": MASK}
    inputs |= {"decoder_token_ids": IDS, "decoder_padding_mask": MASK}
    expected = backbone(inputs)["encoder_sequence_output"]
    part = EncoderPart(backbone)
    found = part({"token_ids": IDS, "padding_mask": MASK})
    np.testing.assert_allclose(found[MASK == 1], expected[MASK == 1], atol=1e-6)
    assert not any("decoder" in weight.path for weight in part.weights)


@needs_embedder
def test_the_mean_of_a_gemma3_embedder_is_its_vector_but_for_the_length(tmp_path):
    backbone = whole(tmp_path, "gemma3_embedder")
    expected = backbone({"token_ids": IDS, "padding_mask": MASK})["pooled_output"].numpy()
    tokens = EncoderPart(backbone)({"token_ids": IDS, "padding_mask": MASK}).numpy()
    mean = (tokens * MASK[..., None]).sum(1) / MASK.sum(1, keepdims=True)
    unit = mean / np.linalg.norm(mean, axis=1, keepdims=True)
    np.testing.assert_allclose(unit, expected, atol=1e-5)


@needs_embedder
def test_an_encoder_of_a_gemma3_embedder_gives_its_vector_from_text(tmp_path):
    folder = tiny_preset(tmp_path, "gemma3_embedder")
    encoder = TextEncoder.from_preset(folder, max_tokens=16)
    backbone = keras_nlp.models.Backbone.from_preset(str(folder), dtype="float32")
    tokens = encoder.preprocessor(tf.constant(["the man is eating"]))
    inputs = {k: tokens[k] for k in ("token_ids", "padding_mask")}
    expected = backbone(inputs)["pooled_output"].numpy()
    found = encoder.encode(["the man is eating"])
    np.testing.assert_allclose(found / np.linalg.norm(found), expected, atol=1e-5)


def test_its_config_makes_it_again(tmp_path):
    part = EncoderPart(whole(tmp_path, "t5"))
    again = EncoderPart.from_config(part.get_config())
    assert again.get_config() == part.get_config()
    assert [w.shape for w in again.weights] == [w.shape for w in part.weights]


def test_another_family_is_refused():
    backbone = keras_nlp.models.BertBackbone(9, 1, 2, 4, 8)
    with pytest.raises(ValueError, match="Gemma3Backbone, T5Backbone, got a BertBackbone"):
        EncoderPart(backbone)
    with pytest.raises(ValueError, match="`family` must be one of"):
        EncoderPart.from_config({"family": "BertBackbone", "whole": {}})


def test_a_gemma3_that_is_no_embedder_is_an_encoder_as_it_is(tmp_path):
    folder = tiny_preset(tmp_path, "gemma3")
    _, backbone = load_preset(resolve_preset(folder))
    assert isinstance(backbone, keras_nlp.models.Gemma3Backbone)
    with pytest.raises(ValueError, match="is_embedding_model=True"):
        EncoderPart(backbone)


def test_t5_texts_get_no_start_token_and_end_as_it_was_trained(t5_folder):
    tokenizer, _ = load_preset(resolve_preset(t5_folder))
    ids = TextPreprocessor(tokenizer, 4)(tf.constant(["", "the man is eating food"]))["token_ids"]
    end, pad = tokenizer.token_to_id("</s>"), tokenizer.token_to_id("<pad>")
    assert ids[0].numpy().tolist() == [end, pad, pad, pad]
    assert ids[1, -1].numpy() == end and end not in ids[1, :3].numpy()


def test_qwen3_texts_end_with_the_end_of_a_document(tmp_path):
    tokenizer, _ = load_preset(resolve_preset(tiny_preset(tmp_path, "qwen3")))
    inputs = TextPreprocessor(tokenizer, 8)(tf.constant(["", "man"]))
    end = tokenizer.token_to_id("<|endoftext|>")
    assert inputs["token_ids"][0, 0].numpy() == end and inputs["padding_mask"][0, 0].numpy() == 1
    assert inputs["padding_mask"].numpy().sum(1)[0] == 1


def test_the_part_loads_in_bfloat16(t5_folder, tmp_path):
    TextEncoder.from_preset(t5_folder).save(tmp_path / "saved")
    _, backbone = load_preset(resolve_preset(tmp_path / "saved"), "mixed_bfloat16")
    assert isinstance(backbone, EncoderPart)
    assert backbone.compute_dtype == "bfloat16"
    assert all(weight.dtype == "float32" for weight in backbone.weights)


def test_a_text_model_is_needed(monkeypatch, tiny_folder):
    from tfrec_llm.encoders import load_preset as module
    from tfrec_llm.errors import EncoderError

    tokens = keras.Input((None,), dtype="int32", name="token_ids")
    images = keras.Input((None,), dtype="int32", name="images")
    model = keras.Model({"token_ids": tokens, "images": images}, keras.ops.add(tokens, images))
    monkeypatch.setattr(module, "_encoder_of", lambda _: model)
    with pytest.raises(EncoderError, match="reads .*images.* Use a model of text alone"):
        load_preset(resolve_preset(tiny_folder))
