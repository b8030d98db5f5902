"""The TFX pipeline: tables in, a pushed SavedModel and recommendations for all users out."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tfx import v1 as tfx
from tfx.proto import example_gen_pb2, transform_pb2

from tfrec_llm.config.run_config import RunConfig
from tfrec_llm.errors import UsageError
from tfrec_llm.pipelines.blessing_rules import BlessingRules
from tfrec_llm.pipelines.example_tables import TABLES
from tfrec_llm.pipelines.on_tfx.components.anomalies_gate import AnomaliesGate
from tfrec_llm.pipelines.on_tfx.components.gather_tables import GatherTables
from tfrec_llm.pipelines.on_tfx.components.retrieval_evaluator import RetrievalEvaluator
from tfrec_llm.pipelines.on_tfx.components.serving_validator import ServingValidator
from tfrec_llm.pipelines.on_tfx.components.user_queries import UserQueries
from tfrec_llm.pipelines.on_tfx.examples import SPLIT
from tfrec_llm.pipelines.pipeline_config import config_to_text

MODULE = "tfrec_llm.pipelines.on_tfx.module"
# Workers of `multi_processing` start without the op libraries of an export, and fail.
BEAM_ARGUMENTS = ("--direct_running_mode=in_memory", "--direct_num_workers=1")


def create_pipeline(
    tables: Mapping[str, str | Path],
    config: RunConfig,
    *,
    pipeline_root: str | Path,
    push_to: str | Path,
    metadata: str | Path | None,
    name: str = "tfrec-llm",
    schemas: str | Path | None = None,
    baseline_statistics: Mapping[str, str | Path] | None = None,
    rules: BlessingRules | None = None,
    server: str = "any",
    module_file: str | Path | None = None,
    run_folder: str | Path | None = None,
    distribution_strategy: str | None = None,
    tuner_trials: int = 0,
    enable_cache: bool = True,
    beam_arguments: Sequence[str] = BEAM_ARGUMENTS,
) -> Any:
    """Builds the pipeline; a runner runs or compiles it.

    For each table: CsvExampleGen → StatisticsGen → SchemaGen (and ImportSchemaGen) →
    ExampleValidator → AnomaliesGate → Transform → GatherTables. Then Trainer → Resolver (the last
    blessed model) → RetrievalEvaluator and ServingValidator → Pusher, and BulkInferrer.

    Args:
        tables: CSV files of `items` and `interactions`, and of `users` if there are any.
        config: the run, as of `tfrec-llm train`; of its section `data` the columns count.
        pipeline_root: folder for the artifacts.
        push_to: folder of versions that a server watches; a version is a Unix time.
        metadata: sqlite file of the runs, from which the last blessed model is known; None where
            the runner brings its own.
        name: str, of the pipeline; small letters, digits and hyphens, as Kubeflow wants them.
        schemas: folder of curated schemas, `items.pbtxt` and so on; a table without a file there
            is checked by what SchemaGen infers, so that nothing is ever an anomaly.
        baseline_statistics: table → file of statistics that drift comparators compare with.
        rules: what a model must reach.
        server: which server must be able to serve it: `stock`, `with_scann` or `any`.
        module_file: file with `preprocessing_fn`, `run_fn` and `tuner_fn`; None for those of
            this package, by their import path. TFX makes a wheel of a file, which takes `pip`.
        run_folder: where runs lie that shall go on after a failure; None for the artifacts.
        distribution_strategy: value of `train.strategy`.
        tuner_trials: int, 0 for no Tuner.
        enable_cache: whether steps with the same inputs are skipped. The cache does not see that
            code changed which is named by an import path.
        beam_arguments: arguments of Beam.

    Returns: `tfx.dsl.Pipeline`.

    Raises: UsageError when a table is missing or is no CSV file, or a rule names a figure that
        `evaluate.ks` leaves out.
    """
    rules = rules or BlessingRules()
    rules.check_ks(config.evaluate.ks)
    told = config_to_text(config)
    custom_config: dict[str, Any] = {"config": told}
    if distribution_strategy is not None:
        custom_config["distribution_strategy"] = distribution_strategy
    if run_folder is not None:
        custom_config["run_folder"] = str(run_folder)
    nodes: list[Any] = []
    transformed: dict[str, Any] = {}
    gates = []
    for table in TABLES:
        if table not in tables:
            continue
        steps = _table_steps(
            table,
            tables[table],
            None if schemas is None else Path(schemas),
            (baseline_statistics or {}).get(table),
            custom_config,
            module_file,
        )
        nodes += steps.values()
        gates.append(steps["gate"])
        transformed[table] = steps["transform"].outputs["transformed_examples"]
    for table in TABLES[:2]:
        if table not in tables:
            raise UsageError(f"The pipeline needs a table of {table}: tables={{'{table}': FILE}}.")
    for step in nodes:  # data that is wrong in one table stops the others too
        if step.id.startswith("Transform"):
            step.add_upstream_nodes(gates)

    gathered = GatherTables(**transformed)
    nodes.append(gathered)
    examples = gathered.outputs["examples"]
    arguments: dict[str, Any] = {
        # A split for each table. The split by time is the package's, so TFX makes none.
        "examples": examples,
        "train_args": tfx.proto.TrainArgs(splits=list(transformed)),
        "eval_args": tfx.proto.EvalArgs(splits=list(transformed)),
        "custom_config": custom_config,
    }
    tuned = None
    if tuner_trials:
        tuner = tfx.components.Tuner(
            **arguments | {"custom_config": {**custom_config, "trials": tuner_trials}},
            **_function("tuner_fn", module_file),
        )
        nodes.append(tuner)
        tuned = tuner.outputs["best_hyperparameters"]
    trainer = tfx.components.Trainer(
        **arguments, hyperparameters=tuned, **_function("run_fn", module_file)
    )
    last_blessed = tfx.dsl.Resolver(
        strategy_class=tfx.dsl.experimental.LatestBlessedModelStrategy,
        model=tfx.dsl.Channel(type=tfx.types.standard_artifacts.Model),
        model_blessing=tfx.dsl.Channel(type=tfx.types.standard_artifacts.ModelBlessing),
    ).with_id("LastBlessedModel")
    evaluator = RetrievalEvaluator(
        examples=examples,
        model=trainer.outputs["model"],
        baseline_model=last_blessed.outputs["model"],
        config=told,
        rules=rules.to_text(),
    )
    validator = ServingValidator(model=trainer.outputs["model"], server=server)
    pusher = tfx.components.Pusher(
        model=trainer.outputs["model"],
        model_blessing=evaluator.outputs["blessing"],
        infra_blessing=validator.outputs["blessing"],
        push_destination=tfx.proto.PushDestination(
            filesystem=tfx.proto.PushDestination.Filesystem(base_directory=str(push_to))
        ),
    )
    queries = UserQueries(examples=examples, config=told)
    inferrer = tfx.components.BulkInferrer(
        examples=queries.outputs["queries"],
        model=trainer.outputs["model"],
        model_blessing=evaluator.outputs["blessing"],
        data_spec=tfx.proto.DataSpec(example_splits=[SPLIT]),
        model_spec=tfx.proto.ModelSpec(model_signature_name=["serve_examples"]),
    )
    nodes += [trainer, last_blessed, evaluator, validator, pusher, queries, inferrer]
    return tfx.dsl.Pipeline(
        pipeline_name=name,
        pipeline_root=str(pipeline_root),
        components=nodes,
        enable_cache=enable_cache,
        metadata_connection_config=None if metadata is None else _sqlite(Path(metadata)),
        beam_pipeline_args=list(beam_arguments),
    )


def run_pipeline(pipeline: Any) -> None:
    """Runs a pipeline here and now, one step after the other.

    Args:
        pipeline: what `create_pipeline` returned.

    Raises: whatever a step raised; the steps after it are not begun.
    """
    logging.getLogger("tfrec_llm").setLevel(logging.INFO)
    tfx.orchestration.LocalDagRunner().run(pipeline)


def compile_for_kubeflow(pipeline: Any, out: str | Path, image: str) -> None:
    """Writes the pipeline as the JSON that Kubeflow Pipelines and Vertex AI Pipelines run.

    Args:
        pipeline: what `create_pipeline` returned, its paths being such as the workers reach.
        out: the JSON file.
        image: container image with this package and its extra `tfx`.
    """
    runner = tfx.orchestration.experimental.KubeflowV2DagRunner(
        config=tfx.orchestration.experimental.KubeflowV2DagRunnerConfig(default_image=image),
        output_dir=str(Path(out).parent),
        output_filename=Path(out).name,
    )
    runner.run(pipeline)


def _table_steps(
    table: str,
    file: str | Path,
    schemas: Path | None,
    baseline: str | Path | None,
    custom_config: dict[str, Any],
    module_file: str | Path | None,
) -> dict[str, Any]:
    """Returns the steps from a file to clean examples, by name, in order."""
    path = Path(file)
    if path.suffix != ".csv":
        raise UsageError(f"{path} ({table}): CsvExampleGen reads plain .csv files.")
    one_split = example_gen_pb2.Output(
        split_config=example_gen_pb2.SplitConfig(
            splits=[example_gen_pb2.SplitConfig.Split(name=SPLIT, hash_buckets=1)]
        )
    )
    reader = tfx.components.CsvExampleGen(
        input_base=str(path.parent),
        input_config=example_gen_pb2.Input(
            splits=[example_gen_pb2.Input.Split(name=SPLIT, pattern=path.name)]
        ),
        output_config=one_split,
    )
    statistics = tfx.components.StatisticsGen(examples=reader.outputs["examples"])
    inferred = tfx.components.SchemaGen(
        statistics=statistics.outputs["statistics"],
        infer_feature_shape=True,  # else Transform hands on sparse tensors
    )
    steps: dict[str, Any] = {"read": reader, "statistics": statistics, "infer": inferred}
    schema = inferred.outputs["schema"]
    curated = None if schemas is None else schemas / f"{table}.pbtxt"
    if curated is not None and curated.is_file():
        steps["curated"] = tfx.components.ImportSchemaGen(schema_file=str(curated))
        schema = steps["curated"].outputs["schema"]
    steps["validate"] = tfx.components.ExampleValidator(
        statistics=statistics.outputs["statistics"], schema=schema
    )
    steps["gate"] = AnomaliesGate(
        anomalies=steps["validate"].outputs["anomalies"],
        statistics=statistics.outputs["statistics"],
        schema=schema,
        table=table,
        baseline_statistics="" if baseline is None else str(baseline),
    )
    steps["transform"] = tfx.components.Transform(
        examples=reader.outputs["examples"],
        schema=schema,
        splits_config=transform_pb2.SplitsConfig(analyze=[SPLIT], transform=[SPLIT]),
        disable_statistics=True,
        custom_config=custom_config,
        **_function("preprocessing_fn", module_file),
    )
    for step in steps.values():
        step.with_id(f"{step.id}_{table}")
    return steps


def _function(name: str, module_file: str | Path | None) -> dict[str, str]:
    if module_file is not None:
        return {"module_file": str(module_file)}
    return {name: f"{MODULE}.{name}"}


def _sqlite(path: Path) -> Any:
    path.parent.mkdir(parents=True, exist_ok=True)
    return tfx.orchestration.metadata.sqlite_metadata_connection_config(str(path))
