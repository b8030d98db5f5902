"""What is suggested, for whom, and what must always hold of it."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tfrec_llm.encoders.model_list import language_models
from tfrec_llm.encoders.suggest import (
    DEVICES,
    LANGUAGES,
    MEMORY_MB,
    TASKS,
    suggest_encoder,
)
from tfrec_llm.errors import UsageError

ITEMS = st.integers(1, 10**9)
MINUTES = st.floats(0.01, 10_000)
CASES = {
    "language": st.sampled_from(LANGUAGES),
    "device": st.sampled_from(DEVICES),
    "task": st.sampled_from(TASKS),
}


@given(num_items=ITEMS, minutes=MINUTES, **CASES)
def test_the_suggestion_reads_the_language_and_fits_the_memory(
    num_items, minutes, language, device, task
):
    found = suggest_encoder(num_items, language, device, task=task, minutes=minutes)
    for model in filter(None, (found.model, found.runner_up)):
        assert model.supports(language) and model.memory_mb <= MEMORY_MB[device]
    assert found.runner_up != found.model
    assert found.reasons and found.changes


@given(few=ITEMS, more=ITEMS, minutes=MINUTES, **CASES)
def test_more_items_in_the_same_time_never_give_a_slower_model(
    few, more, minutes, language, device, task
):
    few, more = sorted((few, more))
    fast, slow = (
        suggest_encoder(n, language, device, task=task, minutes=minutes).model for n in (more, few)
    )
    assert fast.texts_per_second(device) >= slow.texts_per_second(device)


@given(num_items=ITEMS, minutes=MINUTES, **CASES)
def test_what_is_said_to_fit_is_in_time_and_nothing_else_is(
    num_items, minutes, language, device, task
):
    found = suggest_encoder(num_items, language, device, task=task, minutes=minutes)
    assert found.fits == (found.minutes <= minutes * (1 + 1e-9))
    if not found.fits:
        rates = [m.texts_per_second(device) for m in language_models() if m.supports(language)]
        assert found.model.texts_per_second(device) == max(rates)


def test_a_small_catalogue_with_time_gets_the_best_grade():
    for language in LANGUAGES:
        assert suggest_encoder(500, language, minutes=60).model.quality == 5


def test_a_large_english_catalogue_on_a_cpu_gets_a_small_embedder():
    found = suggest_encoder(500_000, "en", "cpu", minutes=60)
    assert found.fits and found.model.dim == 384 and found.model.quality >= 3


def test_chinese_texts_get_a_chinese_model():
    assert suggest_encoder(5_000, "zh", minutes=60).model.name == "bge_base_v1.5_zh"


def test_a_gpu_allows_a_better_model_than_a_cpu():
    on_cpu = suggest_encoder(100_000, "en", "cpu", minutes=20).model
    on_gpu = suggest_encoder(100_000, "en", "gpu", minutes=20).model
    assert on_gpu.quality > on_cpu.quality


def test_chinese_without_a_model_at_hand_points_to_training_one():
    found = suggest_encoder(5_000, "zh", at_hand=["all_minilm_l6_v2_en"])
    assert any("tfrec-llm pretrain-encoder TEXTS --out PRESET" in line for line in found.changes)
    found = suggest_encoder(5_000, "zh", at_hand=["bert_base_zh"])
    assert not any("pretrain-encoder" in line for line in found.changes)
    assert any("take bert_base_zh, which is at hand" in line for line in found.changes)


@given(num_items=ITEMS, minutes=MINUTES, **CASES)
def test_what_the_installed_keras_nlp_lacks_is_not_suggested(
    num_items, minutes, language, device, task
):
    options = {"task": task, "minutes": minutes}
    found = suggest_encoder(num_items, language, device, keras_nlp_version="0.25.1", **options)
    for model in filter(None, (found.model, found.runner_up)):
        assert model.is_in("0.25.1")
    best = suggest_encoder(num_items, language, device, **options)
    told = [line for line in found.changes if line.startswith("With keras-nlp 0.")]
    if best.fits and best.model != found.model:
        assert len(told) == 1 and f"{best.model.since} or newer {best.model.name} would" in told[0]
    if best.model == found.model:
        assert not told
    newest = suggest_encoder(num_items, language, device, keras_nlp_version="0.32.0", **options)
    assert newest == best


def test_a_model_at_hand_is_suggested_under_any_keras_nlp():
    minilm = "all_minilm_l6_v2_en"
    options = {"minutes": 60, "keras_nlp_version": "0.25.1"}
    assert suggest_encoder(200_000, **options).model.name != minilm
    assert suggest_encoder(200_000, at_hand=[minilm], **options).model.name == minilm


def test_a_model_at_hand_is_not_said_to_be_fetched():
    found = suggest_encoder(200_000, minutes=60)
    again = suggest_encoder(200_000, minutes=60, at_hand=[found.model.name])
    assert any("must be fetched" in line for line in found.changes)
    assert not any("network" in line for line in again.changes)


def test_too_little_time_is_told_with_the_time_it_takes():
    found = suggest_encoder(10**8, "multi", "gpu", minutes=1)
    assert not found.fits
    assert any("No model that reads several languages" in line for line in found.reasons)
    assert any("would give better vectors" in line for line in found.changes)


def test_a_pooling_other_than_the_mean_is_told():
    found = suggest_encoder(500, "zh", minutes=60)
    assert any(f"encoder.pooling: {found.model.pooling}" in line for line in found.reasons)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"num_items": 0}, "`num_items` must be at least 1, got 0"),
        ({"minutes": 0.0}, "`minutes` must be a number above 0"),
        ({"minutes": float("nan")}, "`minutes` must be a number above 0"),
        ({"language": "fr"}, "`language` must be one of en, zh, multi, got 'fr'"),
        ({"device": "tpu"}, "`device` must be one of cpu, gpu, got 'tpu'"),
        ({"task": "search"}, "`task` must be one of retrieval, ranking, got 'search'"),
    ],
)
def test_a_wrong_argument_is_refused(arguments, message):
    with pytest.raises(UsageError, match=message):
        suggest_encoder(**{"num_items": 10, **arguments})
