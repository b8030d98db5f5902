from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from tfrec_llm.config.run_config import DataSection, RunConfig
from tfrec_llm.encoders.text_encoder import TextEncoder
from tfrec_llm.encoders.words_beside_encoder import WordsBesideEncoder
from tfrec_llm.errors import EncoderError, UsageError
from tfrec_llm.testing.small_tables import ODD_IDS
from tfrec_llm.workflows.build import (
    Prepared,
    build_encoder,
    build_model,
    language_model_alone,
    optimisation,
    prepare,
    read_dataset,
)


@pytest.fixture(scope="module")
def prepared(shop_config: Callable[..., RunConfig]) -> Prepared:
    config = shop_config()
    return prepare(config, read_dataset(config.data))


def test_each_item_has_the_features_of_its_text(
    prepared: Prepared, shop_config: Callable[..., RunConfig]
) -> None:
    assert prepared.catalogue.item_ids[0] == ODD_IDS[0]
    expected = build_encoder(shop_config(), prepared.catalogue.texts).encode(
        prepared.catalogue.texts
    )
    np.testing.assert_allclose(prepared.item_features, expected, atol=1e-5)


def test_words_stand_beside_a_frozen_language_model_alone(
    prepared: Prepared, shop_config: Callable[..., RunConfig]
) -> None:
    assert isinstance(prepared.encoder, WordsBesideEncoder)
    texts = prepared.catalogue.texts
    for settings in (
        ["encoder.word_columns=0"],
        ["encoder.mode=lora"],
        ["encoder.pooling=attention"],
    ):
        assert isinstance(build_encoder(shop_config(*settings), texts), TextEncoder)
    few = build_encoder(shop_config("encoder.word_columns=3"), texts)
    assert isinstance(few, WordsBesideEncoder) and few.words.dim == 3
    assert prepared.encoder.words.dim == len(texts) // 4


def test_texts_without_a_word_are_left_to_the_language_model(
    shop_config: Callable[..., RunConfig],
) -> None:
    assert isinstance(build_encoder(shop_config(), ["!", "", "?"]), TextEncoder)
    with pytest.raises(EncoderError, match="None of the 3 texts holds a word"):
        build_encoder(shop_config("encoder.word_columns=3"), ["!", "", "?"])


def test_the_language_model_alone_gives_its_own_vectors(
    prepared: Prepared, shop_config: Callable[..., RunConfig]
) -> None:
    config = shop_config()
    alone = language_model_alone(config, prepared)
    wanted = build_encoder(shop_config("encoder.word_columns=0"), []).encode(
        prepared.catalogue.texts
    )
    np.testing.assert_allclose(alone.item_features, wanted, atol=1e-5)
    assert language_model_alone(config, alone) is alone


def test_each_user_with_text_has_its_features_once(prepared: Prepared) -> None:
    assert len(prepared.user_rows) == 30 and len(prepared.user_features) == 5
    assert "reader 0-0" not in prepared.user_rows
    row = prepared.user_rows["reader 3-1"]
    np.testing.assert_array_equal(prepared.user_features[row], prepared.text_features["city train"])


def test_clicks_are_counted_for_every_item(prepared: Prepared) -> None:
    counts = prepared.num_clicks(prepared.split.train_and_validation)
    assert counts.shape == (42,) and counts.sum() == prepared.split.train_and_validation.height
    assert counts[-2:].tolist() == [0, 0]


def test_the_model_has_the_shape_that_was_asked_for(
    shop_config: Callable[..., RunConfig], prepared: Prepared
) -> None:
    for item_ids in ("true", "false"):
        config = shop_config(
            f"towers.item_ids={item_ids}", "towers.embedding_dim=6", "towers.history=gru"
        )
        model = build_model(config, 42, prepared.encoder)
        assert (
            model.item_tower.embedding_dim == 6 and model.feature_dim == prepared.encoder.dim > 16
        )
        has_ids = any(tuple(v.shape)[0:1] in ((42,), (43,)) for v in model.item_tower.variables)
        assert has_ids == (item_ids == "true")


def test_every_setting_of_training_reaches_the_optimisation(
    shop_config: Callable[..., RunConfig],
) -> None:
    settings = {
        "batch_size": 3,
        "epochs": 4,
        "learning_rate": 0.5,
        "weight_decay": 0.25,
        "warmup_share": 0.125,
        "uniform_negatives": 5,
        "text_only_share": 0.75,
        "patience": 6,
        "seed": 8,
    }
    config = shop_config(*(f"train.{key}={value}" for key, value in settings.items()))
    made = optimisation(config, 2, 1000)
    assert {key: getattr(made, key) for key in settings} == settings and made.stop_after == 2


@pytest.mark.parametrize(("num_sequences", "size"), [(5, 32), (2400, 100), (50_000, 256)])
def test_a_batch_that_nobody_sizes_fits_the_data(
    shop_config: Callable[..., RunConfig], num_sequences: int, size: int
) -> None:
    assert optimisation(shop_config("train.batch_size=null"), 1, num_sequences).batch_size == size


def test_every_setting_of_the_negatives_reaches_the_model(
    shop_config: Callable[..., RunConfig], prepared: Prepared
) -> None:
    settings = {
        "queued_negatives": 7,
        "num_hard_negatives": 3,
        "false_negative_margin": 0.25,
        "label_smoothing": 0.125,
        "debias_share": 0.0625,
        "gradient_cache_rows": 9,
    }
    config = shop_config(*(f"train.{key}={value}" for key, value in settings.items()))
    model = build_model(config, 42, prepared.encoder)
    found = {name: getattr(model.task, name, None) for name in settings}
    found |= {
        "queued_negatives": model.task.queue.size,
        "gradient_cache_rows": model.gradient_cache_rows,
    }
    assert found == settings
    plain = build_model(shop_config(), 42, prepared.encoder)
    assert plain.task.queue is None and plain.gradient_cache_rows is None


def test_the_bookshop_is_at_hand() -> None:
    dataset = read_dataset(DataSection(source="bookshop"))
    assert dataset.name == "bookshop" and dataset.items.height > 300


def test_tables_in_memory_cannot_be_read_again() -> None:
    with pytest.raises(UsageError, match="handed over in Python"):
        read_dataset(DataSection(source="memory"))


def test_a_minimal_rating_reaches_a_named_reader(shared_data: Path) -> None:
    folder = shared_data / "movielens-small"
    counts = [
        len(read_dataset(DataSection(source="movielens", folder=folder, **rating)).interactions)
        for rating in ({}, {"min_rating": 5.0})
    ]
    assert 0 < counts[1] < counts[0]
