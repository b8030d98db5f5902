"""The pipeline as it runs on one machine: what was blessed, what was pushed, what was inferred."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from tfrec_llm.errors import DataError
from tfrec_llm.pipelines.blessing_rules import BlessingRules
from tfrec_llm.pipelines.example_tables import dataset_of_tables
from tfrec_llm.pipelines.judge_export import held_out
from tfrec_llm.serving.loaded import load


def test_a_good_model_is_blessed_and_its_folder_is_pushed(first_run: Any) -> None:
    blessing = first_run.outputs("RetrievalEvaluator", "blessing")[0]
    assert (blessing / "BLESSED").is_file()
    assert len(first_run.pushed) == 1  # Pusher says "finished" when it skips, too
    assert first_run.pushed[0].name.isdigit()
    assert (first_run.pushed[0] / "saved_model.pb").is_file()


def test_what_is_pushed_is_a_whole_export_with_cleaned_titles(first_run: Any) -> None:
    recommender = load(first_run.pushed[0].parent)  # compares every file with its sha256
    assert len(recommender) == 48
    found = recommender.recommend(history=["space-0", "space-1"], k=4)
    assert len(found) == 4
    assert not any("<b>" in item.title for item in found)


def test_the_figures_are_those_of_the_lists_of_the_pushed_model(first_run: Any) -> None:
    catalogue, parts = held_out(first_run.config, _dataset_of_run(first_run))
    recommender = load(first_run.pushed[0])
    hits = []
    for row in range(len(parts.test)):
        history = catalogue.ids(parts.test.histories[row])
        found = [item.item_id for item in recommender.recommend(history=history, k=1)]
        hits.append(catalogue.item_ids[int(parts.test.targets[row])] in found)
    models = first_run.metrics()["models"]
    figures, popularity = models["exported"]["all"], models["popularity"]["all"]
    assert figures["recall@1"] == pytest.approx(sum(hits) / len(hits), abs=1e-6)
    assert popularity["recall@1"] < figures["recall@1"]
    assert figures["recall@10"] > 0.5  # of 42 unread items, 6 are of the reader's taste


def test_recall_by_tfma_is_our_own(first_run: Any, tmp_path: Any) -> None:
    from tfrec_llm.pipelines.on_tfx.model_analysis import recall_by_model_analysis

    catalogue, parts = held_out(first_run.config, _dataset_of_run(first_run))
    by_tfma = recall_by_model_analysis(
        first_run.pushed[0], parts.test, catalogue, 1, tmp_path / "tfma"
    )
    ours = first_run.metrics()["models"]["exported"]["all"]["recall@1"]
    assert by_tfma == pytest.approx(ours, abs=1e-6)


def test_the_last_item_of_a_reader_was_not_trained_on(first_run: Any) -> None:
    run = first_run.outputs("Trainer", "model_run")[0] / "run"
    training = json.loads((run / "training.json").read_text())
    assert training["data"]["interactions"] == 48 * 6
    clicks = pl.read_parquet(run / "model" / "items.parquet")["num_clicks"].sum()
    # Refitted on all but the test: the newest interaction of every reader is the test, and those
    # of cold readers are not trained on at all.
    num_cold = round(0.05 * 48)
    assert clicks == (48 - num_cold) * 5


def test_every_reader_is_inferred_for(first_run: Any) -> None:
    from tensorflow_serving.apis import prediction_log_pb2

    from tfrec_llm.keras_api import tf

    folder = first_run.outputs("BulkInferrer", "inference_result")[0]
    answered = set()
    for file in folder.glob("*.gz"):
        for record in tf.data.TFRecordDataset(str(file), "GZIP").as_numpy_iterator():
            log = prediction_log_pb2.PredictionLog.FromString(record).predict_log
            request = tf.train.Example.FromString(log.request.inputs["examples"].string_val[0])
            history = request.features.feature["history"].bytes_list.value
            ids = tf.make_ndarray(log.response.outputs["item_ids"]).ravel()
            answered.add(request.features.feature["user_id"].bytes_list.value[0])
            assert len(history) == 6
            assert not {*history} & {*ids}
    assert len(answered) == 48


def test_transform_gives_dense_clean_texts(first_run: Any) -> None:
    from tfrec_llm.keras_api import tf

    folder = first_run.outputs("Transform_items", "transformed_examples")[0] / "Split-train"
    records = tf.data.TFRecordDataset([str(f) for f in folder.glob("*.gz")], "GZIP")
    for record in records.as_numpy_iterator():
        features = tf.train.Example.FromString(record).features.feature
        assert sorted(features) == ["item_id", "title"]
        assert all(len(feature.bytes_list.value) == 1 for feature in features.values())
        assert b"<" not in features["title"].bytes_list.value[0]


def test_a_worse_model_is_not_blessed_not_pushed_and_the_log_says_why(
    first_run: Any, caplog: Any
) -> None:
    """Runs again; with the cache, all but the judging is taken from the first run."""
    from tfrec_llm.pipelines.on_tfx.pipeline import run_pipeline

    impossible = BlessingRules(at_least={"all/recall@1": 1.01})
    run_pipeline(first_run.pipeline(enable_cache=True, rules=impossible))
    blessings = first_run.outputs("RetrievalEvaluator", "blessing")
    assert len(blessings) == 2
    assert (blessings[1] / "NOT_BLESSED").is_file()
    assert not (blessings[1] / "BLESSED").exists()
    assert "all/recall@1 is" in (blessings[1] / "reasons.txt").read_text()
    assert any("is not blessed: all/recall@1" in line for line in caplog.messages)
    assert len(first_run.pushed) == 1
    assert len(first_run.outputs("Trainer", "model")) == 1  # cached
    # The model of the first run was the last blessed one: here the same, so with the same figures.
    models = first_run.metrics()["models"]
    assert models["blessed"]["all"]["recall@10"] == models["exported"]["all"]["recall@10"]


def test_ids_that_csv_reads_as_numbers_stop_the_pipeline_before_training(
    another_run: Callable[[Path], Any], write_shop: Callable[..., Any], tmp_path: Path
) -> None:
    from tfrec_llm.pipelines.on_tfx.pipeline import run_pipeline

    run = another_run(tmp_path)
    run.tables = write_shop(tmp_path / "data", item_ids_are_numbers=True)
    with pytest.raises(DataError, match=r"`item_id`: .*BYTES but got INT"):
        run_pipeline(run.pipeline(enable_cache=False))
    assert not run.outputs("Trainer", "model")
    assert not run.pushed


def _dataset_of_run(run: Any) -> Any:
    """Reads the tables from the files, not from the pipeline: the same must have come through."""
    tables = {
        name: pl.read_csv(path, infer_schema=False).sort(pl.all())
        for name, path in run.tables.items()
    }
    return dataset_of_tables(tables, run.config.data)
