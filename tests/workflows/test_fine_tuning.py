"""The language model is trained along: the whole way from tables to an export."""

from __future__ import annotations

import functools
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load_file

import tfrec_llm as tr
from tfrec_llm.config.run_config import RunConfig
from tfrec_llm.encoders.text_encoder import TextEncoder
from tfrec_llm.errors import ConfigError, UsageError
from tfrec_llm.progress import Silent
from tfrec_llm.serving.trained import TrainedModel
from tfrec_llm.workflows.build import (
    Prepared,
    build_model,
    optimisation,
    prepare,
    read_dataset,
    training_features,
    training_user_features,
)
from tfrec_llm.workflows.evaluate import evaluate
from tfrec_llm.workflows.export import export
from tfrec_llm.workflows.fine_tuning import features_of_the_moment, language_model_to_train
from tfrec_llm.workflows.run_folder import RunFolder
from tfrec_llm.workflows.train import train, train_dataset

Config = Callable[..., RunConfig]
Tuned = Callable[[str], tuple[RunConfig, Path]]
MODES = ("lora", "last_layers", "full")
SETTINGS = ("encoder.train_layers=1", "encoder.lora_rank=2", "encoder.learning_rate=0.003")


class Killed(BaseException):
    """Stands for the end of the process."""


class KilledAt:
    """A listener with which the training ends when it comes to a task's step."""

    def __init__(self, task: str) -> None:
        self.task = task

    def message(self, text: str) -> None:
        pass

    def advance(self, task: str, done: int, total: int, note: str = "") -> None:
        if (task, done) == (self.task, 1):
            raise Killed


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (["encoder.kind=tfidf"], "`tfidf` has no language model: use language_model"),
        (["encoder.preset_zh=bert_base_zh"], "names a second language model"),
        (["encoder.word_columns=8"], "are words beside a frozen one"),
        (["encoder.pooling=attention"], "`attention` is learned .* use mean, cls"),
        (["model.kind=matrix_factorisation"], "takes the texts as they are: use two_tower"),
        (["ranker.train=true"], "set ranker.train to false"),
    ],
)
def test_what_cannot_be_fine_tuned_is_told(
    settings: list[str], message: str, shop_config: Config
) -> None:
    with pytest.raises(ConfigError, match=message):
        shop_config("encoder.mode=lora", *settings)


def test_without_a_rate_of_its_own_lora_learns_faster_than_pretrained_weights(
    shop_config: Config,
) -> None:
    rates = {
        mode: optimisation(shop_config(f"encoder.mode={mode}"), 1, 100).encoder_learning_rate
        for mode in ("lora", "last_layers", "full")
    }
    assert rates == {"lora": 2e-4, "last_layers": 2e-5, "full": 2e-5}
    given = shop_config("encoder.mode=lora", "encoder.learning_rate=1e-3")
    assert optimisation(given, 1, 100).encoder_learning_rate == 1e-3


def test_an_encoder_that_is_no_language_model_is_refused(shop_config: Config) -> None:
    from tfrec_llm.encoders.no_text_encoder import NoTextEncoder

    with pytest.raises(UsageError, match="trains a language model, and .* is none"):
        language_model_to_train(shop_config("encoder.mode=full"), NoTextEncoder())


def small_batch(config: RunConfig, prepared: Prepared) -> dict[str, Any]:
    from tfrec_llm.keras_api import tf

    users = training_user_features(config, prepared)
    return {
        "sequences": tf.constant([[3, 4, 5], [-1, 4, 5]]),
        "user_features": tf.constant(np.stack([users[0], np.zeros_like(users[0])])),
        "user_text_mask": tf.constant([True, False]),
        "hide_history": tf.constant([False, False]),
        "negatives": tf.constant([7, 8, 7]),
        "corpus_features": tf.constant(training_features(config, prepared)),
        "positive_share": tf.fill([42], 1 / 42),
        "max_positives": 100,
        "seed": tf.constant([1, 2]),
    }


def test_a_training_step_encodes_the_texts_of_its_items_and_no_others(
    shop_config: Config, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = shop_config("encoder.mode=full", "train.text_search_weight=0")
    prepared = prepare(config, read_dataset(config.data))
    language_model = language_model_to_train(config, prepared.encoder)
    model = build_model(config, 42, prepared.encoder, language_model=language_model)
    encoder, seen = language_model._encoder, []
    embed = encoder.embed_tokens

    def recorded(token_ids: Any, *arguments: Any) -> Any:
        seen.append(len(token_ids))
        return embed(token_ids, *arguments)

    monkeypatch.setattr(encoder, "embed_tokens", recorded)
    loss = model.training_loss(small_batch(config, prepared))
    assert np.isfinite(float(loss))
    # Of -1 (read as item 0), 3, 4, 5, 7 and 8 each once, and the one user with a text.
    assert seen == [6, 1]


@pytest.mark.slow
def test_gradient_caching_changes_neither_the_loss_nor_a_gradient(shop_config: Config) -> None:
    from tfrec_llm.keras_api import tf

    def loss_and_gradients(*settings: str) -> list[np.ndarray]:
        config = shop_config("encoder.mode=lora", *SETTINGS, *settings)
        prepared = prepare(config, read_dataset(config.data))
        language_model = language_model_to_train(config, prepared.encoder)
        model = build_model(config, 42, prepared.encoder, language_model=language_model)
        for weight in language_model.weights:  # one of two matrices of a LoRA starts from zero
            weight.assign(weight + 0.1)
        batch, variables = small_batch(config, prepared), model.trainable_variables

        @tf.function
        def step() -> Any:
            with tf.GradientTape() as tape:
                loss = model.training_loss(batch)
            return [loss, *tape.gradient(loss, [v.value for v in variables])]

        assert {id(w) for w in language_model.weights} <= {id(v) for v in variables}
        return [np.asarray(tf.convert_to_tensor(value)) for value in step()]

    # In one chunk the draws of the drop-out are those of the plain computation.
    plain, cached = loss_and_gradients(), loss_and_gradients("train.gradient_cache_rows=50")
    for one, other in zip(plain, cached, strict=True):
        np.testing.assert_allclose(one, other, atol=1e-5)


def test_features_of_the_moment_follow_the_weights(shop_config: Config) -> None:
    config = shop_config("encoder.mode=full")
    prepared = prepare(config, read_dataset(config.data))
    language_model = language_model_to_train(config, prepared.encoder)
    model = build_model(config, 42, prepared.encoder, language_model=language_model)
    encode = features_of_the_moment(config, prepared, model, Silent())
    items, texts = encode()
    np.testing.assert_allclose(items, prepared.item_features, atol=1e-5)
    for text, features in prepared.text_features.items():
        np.testing.assert_allclose(texts[text], features, atol=1e-5)
    language_model.weights[0].assign_add(np.ones(language_model.weights[0].shape))
    assert np.abs(encode()[0] - items).max() > 1e-2


@pytest.fixture(scope="module")
def tuned_shop(shop_config: Config, tmp_path_factory: pytest.TempPathFactory) -> Tuned:
    """Trains in a mode, once; returns the configuration and the run folder."""

    @functools.cache
    def trained(mode: str) -> tuple[RunConfig, Path]:
        refit = "true" if mode == "lora" else "false"  # another training like the first
        config = shop_config(
            f"encoder.mode={mode}",
            f"train.refit={refit}",
            "train.epochs=2",
            "towers.history=transformer",
            *SETTINGS,
        )
        folder = tmp_path_factory.mktemp("tuned") / "run"
        train(config, folder)
        return config, folder

    return trained


@pytest.mark.slow
@pytest.mark.parametrize("mode", MODES)
def test_the_run_holds_the_tuned_encoder_and_what_it_makes_of_the_items(
    mode: str, tuned_shop: Tuned, tiny_bert: Path
) -> None:
    _, folder = tuned_shop(mode)
    trained = TrainedModel.load(folder / "model")
    assert isinstance(trained.encoder, TextEncoder)
    preset = TextEncoder.from_preset(tiny_bert, max_tokens=16)
    assert trained.encoder.fingerprint != preset.fingerprint
    names = [w.path for w in trained.encoder.backbone.weights]
    assert names == [w.path for w in preset.backbone.weights]
    features = trained.encoder.encode(trained.catalogue.texts)
    is_new = trained.num_clicks == 0
    embeddings = trained.model.embed_corpus(features, is_new)
    np.testing.assert_allclose(trained.item_embeddings, embeddings, atol=1e-5)
    frozen = trained.model.embed_corpus(preset.encode(trained.catalogue.texts), is_new)
    assert np.abs(trained.item_embeddings - frozen).max() > 1e-3


@pytest.mark.slow
def test_it_is_exported_and_answers_as_a_server_would(tuned_shop: Tuned, tmp_path: Path) -> None:
    _, folder = tuned_shop("lora")  # whatever the mode, what is kept is a plain encoder
    # Writing an export asks it once in a process that loads it as TensorFlow Serving does.
    export(folder, tmp_path / "export")
    trained = TrainedModel.load(folder / "model")
    served = tr.load(tmp_path / "export")
    user = trained.model.embed_users(
        np.zeros((1, 1, trained.model.embedding_dim), np.float32),
        np.array([[False]]),
        trained.encoder.encode(["space planet"]),
        np.array([True]),
    )
    order = np.argsort(-(trained.item_embeddings @ np.asarray(user)[0]))[:3]
    found = [one.item_id for one in served.recommend("space planet", k=3)]
    assert found == [trained.catalogue.item_ids[row] for row in order]


@pytest.mark.slow
def test_the_zero_shot_baseline_is_the_encoder_from_before_the_tuning(
    tuned_shop: Tuned, trained_shop: Path
) -> None:
    def figures(run: Path) -> dict[str, tuple[float, float]]:
        models = evaluate(run, baselines=True)["models"]
        return {name: (m["all"]["ndcg@10"], m["all"]["recall@5"]) for name, m in models.items()}

    tuned, frozen = figures(tuned_shop("full")[1]), figures(trained_shop)
    assert tuned["zero_shot"] == frozen["zero_shot"]
    assert tuned["two_tower"] != frozen["two_tower"]


@pytest.mark.slow
def test_a_finished_run_is_prepared_with_its_own_encoder(tuned_shop: Tuned) -> None:
    config, folder = tuned_shop("last_layers")
    dataset = read_dataset(config.data)
    prepared, _ = train_dataset(config, dataset, RunFolder(folder), resume=True)
    trained = TrainedModel.load(folder / "model")
    assert prepared.encoder.fingerprint == trained.encoder.fingerprint
    found = trained.model.embed_corpus(prepared.item_features, trained.num_clicks == 0)
    np.testing.assert_allclose(found, trained.item_embeddings, atol=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("mode", "task"),
    [
        ("lora", "refit epoch 1"),
        pytest.param("full", "select epoch 2", marks=pytest.mark.exhaustive),
    ],
)
def test_a_killed_run_goes_on_to_what_an_unbroken_one_comes_to(
    mode: str, task: str, tuned_shop: Tuned, tmp_path: Path
) -> None:
    config, whole = tuned_shop(mode)
    with pytest.raises(Killed):
        train(config, tmp_path / "run", progress=KilledAt(task))
    assert not (tmp_path / "run" / "model").exists()
    train(config, tmp_path / "run", resume=True)
    summaries = [
        json.loads((folder / "training.json").read_text()) for folder in (tmp_path / "run", whole)
    ]
    key = "validation_ndcg@10_by_epoch"
    assert summaries[0][key] == pytest.approx(summaries[1][key], abs=1e-6)
    found, expected = (
        load_file(folder / "model" / "towers.safetensors") for folder in (tmp_path / "run", whole)
    )
    for one, other in zip(sorted(found), sorted(expected), strict=True):  # numbered in order
        np.testing.assert_allclose(found[one], expected[other], atol=1e-5, err_msg=other)
    encoders = [TrainedModel.load(f / "model").encoder for f in (tmp_path / "run", whole)]
    for one, other in zip(*(e.variables for e in encoders), strict=True):
        np.testing.assert_allclose(one, other, atol=1e-5)


def test_a_refit_starts_from_the_pretrained_weights_again(shop_config: Config) -> None:
    config = shop_config("encoder.mode=full")
    prepared = prepare(config, read_dataset(config.data))
    selected, refitted = (language_model_to_train(config, prepared.encoder) for _ in range(2))
    for weight in selected.weights:
        weight.assign(weight + 1.0)
    assert refitted.tuned().fingerprint == prepared.encoder.fingerprint
