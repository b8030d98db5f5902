"""TFX component: blesses a model by the package's own ranking metrics."""

# No `from __future__ import annotations`: TFX reads the annotations as objects.
import logging
from pathlib import Path

from tfx import v1 as tfx
from tfx.utils import path_utils

from tfrec_llm.evaluation.report import write_metrics
from tfrec_llm.files import atomic_file
from tfrec_llm.pipelines.blessing_rules import BlessingRules
from tfrec_llm.pipelines.judge_export import judge_export
from tfrec_llm.pipelines.on_tfx.examples import dataset_of_artifacts
from tfrec_llm.pipelines.pipeline_config import config_from_text

METRICS, REASONS = "metrics.json", "reasons.txt"
BLESSED, NOT_BLESSED = "BLESSED", "NOT_BLESSED"


@tfx.dsl.components.component
def RetrievalEvaluator(  # noqa: N802 - the name of the component
    items: tfx.dsl.components.InputArtifact[tfx.types.standard_artifacts.Examples],
    interactions: tfx.dsl.components.InputArtifact[tfx.types.standard_artifacts.Examples],
    model: tfx.dsl.components.InputArtifact[tfx.types.standard_artifacts.Model],
    blessing: tfx.dsl.components.OutputArtifact[tfx.types.standard_artifacts.ModelBlessing],
    evaluation: tfx.dsl.components.OutputArtifact[tfx.types.standard_artifacts.ModelEvaluation],
    config: tfx.dsl.components.Parameter[str],
    rules: tfx.dsl.components.Parameter[str],
    users: tfx.dsl.components.InputArtifact[tfx.types.standard_artifacts.Examples] = None,
    baseline_model: tfx.dsl.components.InputArtifact[tfx.types.standard_artifacts.Model] = None,
) -> None:
    """Ranks the whole corpus for the held-out cases by the exported SavedModel, and judges it.

    Args:
        items: examples of the items.
        interactions: examples of the interactions; what is held out of them is what the training
            held out.
        model: the new model.
        blessing: gets BLESSED or NOT_BLESSED, and `reasons.txt`.
        evaluation: gets `metrics.json`: every metric of every slice, with intervals, of the new
            model, of popularity, and of the last blessed model.
        config: JSON of the run, see `config_to_text`.
        rules: JSON of `BlessingRules`.
        users: examples of the texts of users, if there are any.
        baseline_model: the last blessed model, if there is one.
    """
    log = logging.getLogger("tfrec_llm")
    run = config_from_text(config)
    tables = [table for table in (items, interactions, users) if table is not None]
    judgement = judge_export(
        path_utils.serving_model_path(model.uri),
        run,
        dataset_of_artifacts(tables, run.data),
        BlessingRules.from_text(rules),
        blessed=None
        if baseline_model is None
        else path_utils.serving_model_path(baseline_model.uri),
    )
    write_metrics(Path(evaluation.uri) / METRICS, judgement.metrics)
    with atomic_file(Path(blessing.uri) / REASONS) as temporary:
        temporary.write_text("".join(f"{line}\n" for line in judgement.reasons))
    with atomic_file(
        Path(blessing.uri) / (BLESSED if judgement.is_blessed else NOT_BLESSED)
    ) as temporary:
        temporary.write_text("")
    # By these the resolver finds the last blessed model, and Pusher whether it may push.
    blessing.set_int_custom_property("blessed", int(judgement.is_blessed))
    blessing.set_string_custom_property("current_model", model.uri)
    blessing.set_int_custom_property("current_model_id", model.id)
    if baseline_model is not None:
        blessing.set_string_custom_property("baseline_model", baseline_model.uri)
        blessing.set_int_custom_property("baseline_model_id", baseline_model.id)
    if judgement.is_blessed:
        log.info("model %s is blessed", model.uri)
    else:
        log.warning("model %s is not blessed: %s", model.uri, "; ".join(judgement.reasons))
