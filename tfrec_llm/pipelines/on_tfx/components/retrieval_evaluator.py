"""TFX component: blesses a model by the package's own ranking metrics."""

# No `from __future__ import annotations`: TFX reads the annotations as objects.
import contextlib
import logging

from tfx import v1 as tfx
from tfx.utils import path_utils

from tfrec_llm.evaluation.report import write_metrics
from tfrec_llm.pipelines.blessing_rules import BlessingRules
from tfrec_llm.pipelines.judge_export import judge_export
from tfrec_llm.pipelines.on_tfx.examples import dataset_of_artifact
from tfrec_llm.pipelines.pipeline_config import config_from_text
from tfrec_llm.pipelines.remote_files import local_input, local_output

METRICS, REASONS = "metrics.json", "reasons.txt"
BLESSED, NOT_BLESSED = "BLESSED", "NOT_BLESSED"


@tfx.dsl.components.component
def RetrievalEvaluator(  # noqa: N802 - the name of the component
    examples: tfx.dsl.components.InputArtifact[tfx.types.standard_artifacts.Examples],
    model: tfx.dsl.components.InputArtifact[tfx.types.standard_artifacts.Model],
    blessing: tfx.dsl.components.OutputArtifact[tfx.types.standard_artifacts.ModelBlessing],
    evaluation: tfx.dsl.components.OutputArtifact[tfx.types.standard_artifacts.ModelEvaluation],
    config: tfx.dsl.components.Parameter[str],
    rules: tfx.dsl.components.Parameter[str],
    baseline_model: tfx.dsl.components.InputArtifact[tfx.types.standard_artifacts.Model] = None,
) -> None:
    """Ranks the whole corpus for the held-out cases by the exported SavedModel, and judges it.

    Args:
        examples: all tables, as the training read them; what is held out is what it held out.
        model: the new model.
        blessing: gets BLESSED or NOT_BLESSED, and `reasons.txt`.
        evaluation: gets `metrics.json`: every metric of every slice, with intervals, of the new
            model, of popularity, and of the last blessed model.
        config: JSON of the run, see `config_to_text`.
        rules: JSON of `BlessingRules`.
        baseline_model: the last blessed model, if there is one.
    """
    log = logging.getLogger("tfrec_llm")
    run = config_from_text(config)
    dataset = dataset_of_artifact(examples, run.data)
    with contextlib.ExitStack() as stack:
        exports = [
            stack.enter_context(local_input(path_utils.serving_model_path(one.uri)))
            for one in (model, baseline_model)
            if one is not None
        ]
        judgement = judge_export(
            exports[0],
            run,
            dataset,
            BlessingRules.from_text(rules),
            blessed=exports[1] if baseline_model is not None else None,
        )
    with local_output(evaluation.uri) as folder:
        write_metrics(folder / METRICS, judgement.metrics)
    with local_output(blessing.uri) as folder:
        (folder / REASONS).write_text("".join(f"{line}\n" for line in judgement.reasons))
        (folder / (BLESSED if judgement.is_blessed else NOT_BLESSED)).touch()
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
