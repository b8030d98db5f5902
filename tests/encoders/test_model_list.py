"""The list of language models agrees with the installed keras-nlp, and needs no TensorFlow."""

import subprocess
import sys

import pytest

from tfrec_llm.encoders.model_list import (
    MAX_RATE,
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

    presets = getattr(keras_nlp.models, f"{model.family}Backbone").presets
    assert presets[model.name]["metadata"]["params"] == model.num_parameters
    assert f"{model.family}Backbone" in FAMILIES
    assert resolve_preset(model.name).name == model.name


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


def test_listing_and_suggesting_load_no_tensorflow():
    code = (
        "import sys\n"
        "from tfrec_llm.workflows.encoders import list_encoders, suggest\n"
        "list_encoders(); suggest(1000)\n"
        "assert not {'tensorflow', 'keras', 'keras_nlp'} & set(sys.modules)\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
