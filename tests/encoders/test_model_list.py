"""The list of language models agrees with the installed keras-nlp, and needs no TensorFlow."""

import subprocess
import sys

import pytest

from tfrec_llm.encoders import model_list
from tfrec_llm.encoders.model_list import (
    MAX_RATE,
    installed_keras_nlp,
    language_model,
    language_models,
    where_at_hand,
)
from tfrec_llm.encoders.presets import FAMILIES, resolve_preset
from tfrec_llm.errors import EncoderError

MODELS = language_models()


@pytest.mark.parametrize("model", MODELS, ids=lambda model: model.name)
def test_each_model_is_a_preset_of_its_family_with_its_parameters(model):
    from tfrec_llm.keras_api import keras_nlp

    assert f"{model.family}Backbone" in FAMILIES
    presets = getattr(keras_nlp.models, f"{model.family}Backbone").presets
    if not model.is_in(keras_nlp.__version__):
        assert model.name not in presets
        return
    stated = presets[model.name]["metadata"]["params"]
    # Before 0.29.1 keras-nlp stated 0 for T5.
    assert stated == model.num_parameters or (model.family == "T5" and stated == 0)
    assert resolve_preset(model.name).name == model.name


def test_the_version_is_that_of_the_keras_nlp_that_is_imported():
    from tfrec_llm.keras_api import keras_nlp

    assert installed_keras_nlp() == keras_nlp.__version__
    assert language_model("bge_m3").is_in("0.30.0") and not language_model("bge_m3").is_in("0.29.1")


def test_names_are_unique_and_sorted_by_size():
    assert len({model.name for model in MODELS}) == len(MODELS) >= 25
    sizes = [model.num_parameters for model in MODELS]
    assert sizes == sorted(sizes)


def test_every_supported_family_is_in_the_list():
    assert {f"{model.family}Backbone" for model in MODELS} == set(FAMILIES)


@pytest.mark.parametrize("model", MODELS, ids=lambda model: model.name)
def test_facts_are_in_range(model):
    assert set(model.languages) <= {"en", "zh", "multi"} and model.languages
    assert model.pooling in ("mean", "cls", "last") and 1 <= model.quality <= 5
    assert 0 < model.texts_per_second("cpu") <= model.texts_per_second("gpu") <= MAX_RATE
    assert model.memory_mb <= 4e-6 * model.num_parameters
    assert model.licence and model.good_for and model.dim % 64 == 0


def test_a_multilingual_model_reads_everything_and_an_english_one_does_not():
    assert all(language_model("bge_m3").supports(language) for language in ("en", "zh", "multi"))
    english = language_model("all_minilm_l6_v2_en")
    assert english.supports("en") and not english.supports("zh") and not english.supports("multi")


def test_models_with_the_layers_of_a_timed_one_count_as_measured():
    bert, bge = language_model("bert_base_en_uncased"), language_model("bge_base_v1.5_en")
    assert bge.is_measured and bge.texts_per_second() == bert.texts_per_second()
    assert not language_model("qwen3_embedding_0.6b_en").is_measured


def test_an_unknown_name_is_refused():
    with pytest.raises(EncoderError, match="'bert_huge' is not in the list"):
        language_model("bert_huge")


def test_a_preset_in_the_cache_of_keras_nlp_is_at_hand(tmp_path, monkeypatch):
    monkeypatch.setenv("KAGGLEHUB_CACHE", str(tmp_path))
    assert where_at_hand("bert_base_zh") is None
    folder = tmp_path / "models" / "keras" / "bert" / "keras" / "bert_base_zh"
    (folder / "3").mkdir(parents=True)
    assert where_at_hand("bert_base_zh") is None  # begun, not whole
    (folder / "3.complete").touch()
    assert where_at_hand("bert_base_zh") == "cache of keras-nlp"


def test_a_copy_of_a_preset_that_this_keras_nlp_does_not_know_is_not_at_hand(tmp_path, monkeypatch):
    monkeypatch.setenv("KAGGLEHUB_CACHE", str(tmp_path))
    folder = tmp_path / "models" / "keras" / "bge" / "keras" / "bge_m3"
    folder.mkdir(parents=True)
    (folder / "1.complete").touch()
    for version, place in (("0.30.0", "cache of keras-nlp"), ("0.25.1", None)):
        monkeypatch.setattr(model_list, "installed_keras_nlp", lambda version=version: version)
        assert where_at_hand("bge_m3") == place


def test_listing_and_suggesting_load_no_tensorflow():
    code = (
        "import sys\n"
        "from tfrec_llm.workflows.encoders import list_encoders, suggest\n"
        "list_encoders(); suggest(1000)\n"
        "assert not {'tensorflow', 'keras', 'keras_nlp'} & set(sys.modules)\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
