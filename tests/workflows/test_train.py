from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from safetensors.numpy import load_file

import tfrec_llm as tr
from tfrec_llm.config.run_config import RunConfig
from tfrec_llm.encoders.load_encoder import load_encoder
from tfrec_llm.errors import CheckpointError, CorruptFileError, DataError, UsageError
from tfrec_llm.serving.trained import TrainedModel
from tfrec_llm.testing.small_tables import ODD_IDS, SILENT, UNREAD
from tfrec_llm.workflows.build import read_dataset
from tfrec_llm.workflows.evaluate import evaluate
from tfrec_llm.workflows.export import export
from tfrec_llm.workflows.train import train
from tfrec_llm.workflows.training_fingerprint import training_fingerprint

Config = Callable[..., RunConfig]
AS_TRAINED_SHOP = ("towers.history=transformer", "train.epochs=2", "train.patience=2")
USERS = [("space planet", []), ("", [ODD_IDS[1], "king-2"]), ("food", ["love-3"]), ("", [])]


class Killed(BaseException):
    """Stands for the end of the process."""


class KilledAt:
    """A listener with which the training ends when it comes to a task's step."""

    def __init__(self, task: str, step: int = 1) -> None:
        self.task, self.step = task, step

    def message(self, text: str) -> None:
        pass

    def advance(self, task: str, done: int, total: int, note: str = "") -> None:
        if (task, done) == (self.task, self.step):
            raise Killed


class Told:
    def __init__(self) -> None:
        self.lines: list[str] = []

    def message(self, text: str) -> None:
        self.lines.append(text)

    def advance(self, *_: Any) -> None:
        pass


@pytest.mark.slow
@pytest.mark.parametrize(
    "history",
    [
        "mean",
        pytest.param("attention", marks=pytest.mark.exhaustive),
        "gru",
        pytest.param("lstm", marks=pytest.mark.exhaustive),
        "transformer",
    ],
)
def test_every_kind_of_history_answers_alike_in_memory_and_exported(
    history: str, shop_config: Config, tmp_path: Path, without_fresh_process: None
) -> None:
    config = shop_config(f"towers.history={history}", "train.refit=false")
    summary = train(config, tmp_path / "run")
    assert len(summary["validation_ndcg@10_by_epoch"]) == 2
    trained = TrainedModel.load(tmp_path / "run" / "model")
    assert trained.model.user_tower.get_config()["history_kind"] == history
    servable = trained.servable(index="brute_force", max_k=50)
    export(tmp_path / "run", tmp_path / "export")
    loaded = tr.load(tmp_path / "export")
    from tfrec_llm.keras_api import tf

    for text, taken in USERS:
        asked = loaded.recommend(text, taken, k=20)
        answer = servable.signatures()["recommend"](
            user_text=tf.constant([text]),
            history=tf.constant([taken], tf.string, shape=[1, len(taken)]),
            exclude_ids=tf.constant([[""]]),
            k=tf.constant(20),
        )
        in_memory = [item_id.decode() for item_id in answer["item_ids"].numpy()[0]]
        assert [r.item_id for r in asked] == in_memory
        np.testing.assert_allclose([r.score for r in asked], answer["scores"].numpy()[0], atol=1e-5)
        assert len(set(in_memory)) == 20 and not set(taken) & set(in_memory)


@pytest.mark.slow
@pytest.mark.parametrize("protocol", ["random", "temporal", "cold_items"])
def test_every_protocol_goes_the_whole_way(
    protocol: str, shop_config: Config, tmp_path: Path
) -> None:
    epochs = int(protocol == "cold_items")
    train(shop_config(f"split.protocol={protocol}", f"train.epochs={epochs}"), tmp_path / "run")
    metrics = evaluate(tmp_path / "run", baselines=protocol == "cold_items")
    assert metrics["protocol"]["split"] == protocol
    ours = metrics["models"]["two_tower"]
    assert ours["all"]["queries"] > 0 and 0.0 <= ours["all"]["recall@10"] <= 1.0
    if protocol != "cold_items":
        return
    for name in ("two_tower", "popularity", "item_knn", "tfidf", "zero_shot"):
        cold = metrics["models"][name]["cold_items"]
        assert cold["queries"] == ours["all"]["queries"]
        for key in ("recall@10_among_cold", "ndcg@10_among_cold"):
            assert 0.0 <= cold[key] <= 1.0
        assert cold["recall@10_among_cold"] >= cold["recall@10"]
    assert metrics["models"]["popularity"]["cold_items"]["recall@5"] == 0.0


@pytest.mark.slow
def test_hidden_items_are_in_no_training_count(shop_config: Config, tmp_path: Path) -> None:
    train(shop_config("split.protocol=cold_items", "train.epochs=0"), tmp_path / "run")
    items = pl.read_parquet(tmp_path / "run" / "model" / "items.parquet")
    never = set(items.filter(pl.col("num_clicks") == 0)["item_id"])
    assert len(never) == 4 + 2 and {UNREAD, SILENT} <= never


@pytest.mark.slow
def test_the_refit_counts_validation_and_leaves_the_test_out(
    shop_config: Config, tmp_path: Path
) -> None:
    counts = {}
    for refit in ("true", "false"):
        train(shop_config(f"train.refit={refit}", "train.epochs=0"), tmp_path / refit)
        items = pl.read_parquet(tmp_path / refit / "model" / "items.parquet")
        counts[refit] = items["num_clicks"].sum()
    cold_users = 3  # of 60, and their five other interactions
    assert counts["true"] == 360 - 60 - 5 * cold_users
    assert counts["false"] == counts["true"] - (60 - cold_users)


def test_no_epoch_keeps_the_closed_form_start(shop_config: Config, tmp_path: Path) -> None:
    summary = train(shop_config("train.epochs=0"), tmp_path / "run")
    assert summary["best_epoch"] == 0
    assert summary["validation_ndcg@10"] == pytest.approx(summary["start"]["validation_ndcg"])


@pytest.mark.slow
@pytest.mark.parametrize(
    ("task", "step"),
    [
        pytest.param("encode texts", 32, marks=pytest.mark.exhaustive),
        ("choose start", 2),
        pytest.param("select epoch 1", 1, marks=pytest.mark.exhaustive),
        ("select epoch 2", 2),
        ("refit epoch 1", 1),
    ],
)
def test_a_training_that_ends_anywhere_can_go_on(
    task: str, step: int, shop_config: Config, trained_shop: Path, tmp_path: Path
) -> None:
    cache = f"encoder.cache_folder={tmp_path / 'cache'}"
    config = shop_config(*AS_TRAINED_SHOP, cache)
    with pytest.raises(Killed):
        train(config, tmp_path / "run", progress=KilledAt(task, step))
    summary = train(config, tmp_path / "run", resume=True)
    unbroken = json.loads((trained_shop / "training.json").read_text())
    for key in ("validation_ndcg@10_by_epoch", "best_epoch", "start"):
        assert summary[key] == unbroken[key]
    expected, found = (
        load_file(folder / "model" / "towers.safetensors")
        for folder in (trained_shop, tmp_path / "run")
    )
    # By their order: the names count up within one process.
    for name, value in zip(sorted(expected), sorted(found), strict=True):
        np.testing.assert_array_equal(found[value], expected[name], err_msg=name)


def test_a_training_that_ended_before_its_first_epoch_keeps_its_settings(
    shop_config: Config, tmp_path: Path
) -> None:
    with pytest.raises(Killed):
        train(shop_config(), tmp_path / "run", progress=KilledAt("choose start", 2))
    with pytest.raises(CheckpointError, match="another configuration"):
        train(shop_config("towers.embedding_dim=4"), tmp_path / "run", resume=True)


def test_a_training_does_not_go_on_with_other_features(shop_config: Config, tmp_path: Path) -> None:
    with pytest.raises(Killed):
        train(shop_config(), tmp_path / "run", progress=KilledAt("choose start", 2))
    begun = tmp_path / "run" / "checkpoints" / "fingerprint.json"
    shutil.rmtree(begun.parent / "encoder")
    begun.write_text(json.dumps({**json.loads(begun.read_text()), "encoder": "0" * 64}))
    with pytest.raises(CheckpointError, match="began with other features of the texts"):
        train(shop_config(), tmp_path / "run", resume=True)


def test_a_training_goes_on_with_the_encoder_it_began_with(
    shop_config: Config, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = shop_config("encoder.word_columns=4", "train.epochs=0", "train.refit=false")
    with pytest.raises(Killed):
        train(config, tmp_path / "run", progress=KilledAt("choose start", 2))
    kept = tmp_path / "run" / "checkpoints" / "encoder"
    begun = load_encoder(kept).fingerprint

    def of_another_processor(*_: Any) -> None:
        raise AssertionError("its sums would be others")

    monkeypatch.setattr("tfrec_llm.workflows.build.build_encoder", of_another_processor)
    train(config, tmp_path / "run", resume=True)
    assert TrainedModel.load(tmp_path / "run" / "model").encoder.fingerprint == begun
    assert not kept.exists()


def test_a_training_whose_encoder_was_not_kept_makes_it_again(
    shop_config: Config, tmp_path: Path
) -> None:
    config = shop_config("train.epochs=0", "train.refit=false")
    with pytest.raises(Killed):
        train(config, tmp_path / "run", progress=KilledAt("choose start", 2))
    kept = tmp_path / "run" / "checkpoints" / "encoder"
    next(kept.rglob("model.weights.h5")).write_bytes(b"other weights")
    with pytest.raises(CorruptFileError, match="model.weights.h5 is missing .* Delete it, and"):
        train(config, tmp_path / "run", resume=True)
    shutil.rmtree(kept)
    assert train(config, tmp_path / "run", resume=True)["best_epoch"] == 0


@pytest.mark.slow
def test_settings_that_shape_no_weight_may_change_on_the_way(
    shop_config: Config, tmp_path: Path
) -> None:
    with pytest.raises(Killed):
        train(shop_config("train.epochs=0"), tmp_path / "run", progress=KilledAt("choose start"))
    train(shop_config("train.epochs=0", "index.max_k=7"), tmp_path / "run", resume=True)
    assert "max_k: 7" in (tmp_path / "run" / "config.yaml").read_text()


def test_a_finished_run_is_told_and_kept(shop_config: Config, trained_shop: Path) -> None:
    told = Told()
    before = (trained_shop / "training.json").read_bytes()
    config = shop_config(*AS_TRAINED_SHOP)
    summary = train(config, trained_shop, resume=True, progress=told)
    assert json.loads(before) == summary and (trained_shop / "training.json").read_bytes() == before
    assert any("trained already" in line for line in told.lines)
    with pytest.raises(UsageError, match="not empty"):
        train(config, trained_shop)


def test_a_run_that_could_not_begin_leaves_its_folder_free(
    shop_config: Config, tmp_path: Path
) -> None:
    with pytest.raises(DataError):
        train(shop_config("data.ordered=false", "data.columns.timestamp=nix"), tmp_path / "run")
    train(shop_config("train.epochs=0"), tmp_path / "run")


def test_tables_in_memory_cannot_be_named_in_a_file(shop_config: Config, tmp_path: Path) -> None:
    config = shop_config("data.source=memory")
    with pytest.raises(UsageError, match="handed over in Python"):
        train(config, tmp_path / "run")


@pytest.mark.slow
def test_a_random_start_is_drawn_again_by_a_resume_and_has_no_text_share(
    shop_config: Config, tmp_path: Path
) -> None:
    config = shop_config("towers.start=random", "towers.text_start_share=null")
    unbroken = train(config, tmp_path / "unbroken")
    assert unbroken["start"]["text_share"] is None and unbroken["start"]["power"] is None
    with pytest.raises(Killed):
        train(config, tmp_path / "run", progress=KilledAt("select epoch 1", 1))
    train(config, tmp_path / "run", resume=True)
    expected, found = (
        load_file(tmp_path / name / "model" / "towers.safetensors") for name in ("unbroken", "run")
    )
    for name, value in zip(sorted(expected), sorted(found), strict=True):
        np.testing.assert_array_equal(found[value], expected[name], err_msg=name)


def test_what_has_no_order_starts_from_plain_means_and_is_another_training(
    shop_config: Config, shop_tables: Path, tmp_path: Path
) -> None:
    clicks = pl.read_csv(shop_tables / "interactions.csv").drop("timestamp")
    clicks.write_csv(tmp_path / "clicks.csv")
    data = f"data.interactions={tmp_path}/clicks.csv"
    options = ["split.protocol=random", "train.refit=false"]
    as_rows_stand = shop_config(data, *options)
    without = shop_config(data, *options, "data.ordered=false")
    fingerprints = {
        training_fingerprint(config, read_dataset(config.data))
        for config in (as_rows_stand, without)
    }
    assert len(fingerprints) == 2
    for config, name, recency in ((as_rows_stand, "rows", 0.7), (without, "none", 1.0)):
        train(config, tmp_path / name)
        model = TrainedModel.load(tmp_path / name / "model").model
        assert model.user_tower.recency == recency
        weights = np.asarray(model.user_tower.history_encoder.mean.log_weights)
        np.testing.assert_allclose(weights, np.arange(5) * np.log(recency), atol=0.1)
