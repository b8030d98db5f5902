"""The settings for shops with little data, the whole way: fewer clicks, copies, another run."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file

from tfrec_llm.config.run_config import RunConfig
from tfrec_llm.errors import CheckpointError, UsageError
from tfrec_llm.serving.trained import TrainedModel
from tfrec_llm.workflows.build import prepare, read_dataset, training_features
from tfrec_llm.workflows.evaluate import evaluate
from tfrec_llm.workflows.train import train

Config = Callable[..., RunConfig]
COPIES = ("train.text_copies=2", "train.token_dropout=0.4", "train.refit=false")


class Killed(BaseException):
    pass


class KilledAtLastStep:
    def message(self, text: str) -> None:
        pass

    def advance(self, task: str, done: int, total: int, note: str = "") -> None:
        if task == "select epoch 2":
            raise Killed


def weights(run: Path) -> list[np.ndarray]:
    found = load_file(run / "model" / "towers.safetensors")
    return [found[name] for name in sorted(found)]


def test_a_share_of_the_interactions_is_trained_on_and_all_cases_are_asked(
    shop_config: Config, tmp_path: Path
) -> None:
    config = shop_config("split.train_share=0.1", "train.epochs=0", "train.refit=false")
    train(config, tmp_path / "run")
    clicks = TrainedModel.load(tmp_path / "run" / "model").num_clicks.sum()
    whole = prepare(shop_config(), read_dataset(config.data))
    assert clicks == round(0.1 * whole.split.train.height)
    ours = evaluate(tmp_path / "run")["models"]["two_tower"]["all"]
    assert ours["queries"] == len(whole.split.test)


def test_copies_follow_the_originals_and_differ_from_them(shop_config: Config) -> None:
    config = shop_config(*COPIES)
    prepared = prepare(config, read_dataset(config.data))
    features, num_items = training_features(config, prepared), len(prepared.catalogue)
    assert features.shape == (3 * num_items, prepared.encoder.dim)
    np.testing.assert_array_equal(features[:num_items], prepared.item_features)
    for copy in (1, 2):
        other = features[copy * num_items : (copy + 1) * num_items]
        assert (np.abs(other - prepared.item_features).max(axis=1) > 1e-3).mean() > 0.3
    without = shop_config()
    assert training_features(without, prepared) is prepared.item_features


@pytest.mark.slow
def test_copies_shape_the_weights_and_a_resumed_run_draws_the_same(
    shop_config: Config, tmp_path: Path
) -> None:
    config = shop_config(*COPIES, "train.epochs=2", "train.patience=2")
    train(config, tmp_path / "whole")
    with pytest.raises(Killed):
        train(config, tmp_path / "cut", progress=KilledAtLastStep())
    train(config, tmp_path / "cut", resume=True)
    for ours, wanted in zip(weights(tmp_path / "cut"), weights(tmp_path / "whole"), strict=True):
        np.testing.assert_array_equal(ours, wanted)


def test_another_run_gives_text_part_and_user_tower(shop_config: Config, tmp_path: Path) -> None:
    train(shop_config("train.refit=false"), tmp_path / "first")
    start_from = f"train.start_from={tmp_path / 'first'}"
    options = ("split.protocol=cold_items", "split.train_share=0.3", "train.epochs=0")
    train(shop_config(start_from, *options), tmp_path / "second")
    first, second = (TrainedModel.load(tmp_path / n / "model") for n in ("first", "second"))
    for ours, theirs in zip(
        second.model.user_tower.variables, first.model.user_tower.variables, strict=True
    ):
        if "seed_generator" not in ours.path:
            np.testing.assert_array_equal(ours.value, theirs.value)
    assert second.encoder.fingerprint == first.encoder.fingerprint  # its words come along
    features = np.random.default_rng(1).normal(size=(4, first.encoder.dim)).astype(np.float32)
    np.testing.assert_array_equal(
        second.model.item_tower.embed_text(features), first.model.item_tower.embed_text(features)
    )
    table = second.model.item_tower.id_embedding.table.numpy()
    np.testing.assert_array_equal(table.any(axis=1), second.num_clicks > 0)


@pytest.mark.slow
def test_a_run_of_another_shape_or_encoder_is_refused_and_leaves_the_folder_free(
    shop_config: Config, tmp_path: Path
) -> None:
    train(shop_config("train.refit=false", "train.epochs=0"), tmp_path / "first")
    start_from = f"train.start_from={tmp_path / 'first'}"
    for change, words in (
        ("towers.embedding_dim=4", "embedding_dim is 8 there and 4 here"),
        ("text.max_tokens=8", "another encoder"),
        ("model.kind=matrix_factorisation", "this run has the model matrix_factorisation"),
    ):
        with pytest.raises(UsageError, match=words):
            train(shop_config(start_from, change), tmp_path / "second")
    with pytest.raises(UsageError, match="There is no run folder"):
        train(shop_config(f"train.start_from={tmp_path / 'nix'}"), tmp_path / "second")
    train(shop_config("train.epochs=0"), tmp_path / "second")


@pytest.mark.slow
def test_a_run_resumed_from_another_start_is_refused(shop_config: Config, tmp_path: Path) -> None:
    for seed in (1, 2):
        train(
            shop_config(f"train.seed={seed}", "train.epochs=0", "train.refit=false"),
            tmp_path / str(seed),
        )
    options = ("train.epochs=0", "train.refit=false")
    first, other = (f"train.start_from={tmp_path / str(seed)}" for seed in (1, 2))
    train(shop_config(first, *options), tmp_path / "run")
    with pytest.raises(CheckpointError, match="another configuration"):
        train(shop_config(other, *options), tmp_path / "run", resume=True)
