"""The pipeline as it is built and compiled, without being run."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tfrec_llm.errors import UsageError
from tfrec_llm.pipelines.blessing_rules import BlessingRules


@pytest.fixture
def run(another_run: Callable[[Path], Any], tmp_path: Path) -> Any:
    return another_run(tmp_path)


def test_the_compiled_pipeline_waits_for_the_gates_of_all_tables(run: Any, tmp_path: Path) -> None:
    from tfrec_llm.pipelines.on_tfx.pipeline import compile_for_kubeflow

    compiled = tmp_path / "pipeline.json"
    pipeline = run.pipeline(metadata=None, tuner_trials=2)
    compile_for_kubeflow(pipeline, compiled, "registry.example/image")
    spec = json.loads(compiled.read_text())["pipelineSpec"]
    tasks = spec["root"]["dag"]["tasks"]
    gates = {"AnomaliesGate_items", "AnomaliesGate_interactions"}
    for table in ("items", "interactions"):
        assert gates <= {*tasks[f"Transform_{table}"]["dependentTasks"]}
    assert {*tasks["Trainer"]["dependentTasks"]} == {"GatherTables", "Tuner"}
    assert {"RetrievalEvaluator", "ServingValidator"} <= {*tasks["Pusher"]["dependentTasks"]}
    executors = spec["deploymentSpec"]["executors"].values()
    images = {e["container"]["image"] for e in executors if "container" in e}
    assert images == {"registry.example/image"}


def test_what_fails_in_silence_is_set(run: Any) -> None:
    from tensorflow.python.framework import op_def_registry

    pipeline = run.pipeline()
    nodes = {node.id: node for node in pipeline.components}
    assert nodes["SchemaGen_items"].exec_properties["infer_feature_shape"]
    assert "--direct_running_mode=in_memory" in pipeline.beam_pipeline_args
    for op in ("Scann>ScannSearchBatched", "RegexSplitWithOffsets"):
        assert op_def_registry.get(op) is not None
    import tensorflow

    assert tensorflow.keras.layers.Layer.__module__.startswith("tf_keras")


def test_wrong_arguments_are_told_before_anything_runs(run: Any) -> None:
    with pytest.raises(UsageError, match=r"items.parquet \(items\): CsvExampleGen"):
        run.pipeline(tables={**run.tables, "items": Path("items.parquet")})
    with pytest.raises(UsageError, match="needs a table of interactions"):
        run.pipeline(tables={"items": run.tables["items"]})
    with pytest.raises(UsageError, match="evaluate.ks"):
        run.pipeline(rules=BlessingRules(at_least={"all/recall@50": 0.1}))
