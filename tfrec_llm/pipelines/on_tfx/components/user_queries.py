"""TFX component: the users of the interactions as requests to the model."""

# No `from __future__ import annotations`: TFX reads the annotations as objects.
from tfx import v1 as tfx

from tfrec_llm.pipelines.on_tfx.examples import dataset_of_artifact, write_examples
from tfrec_llm.pipelines.pipeline_config import config_from_text
from tfrec_llm.pipelines.user_requests import user_requests


@tfx.dsl.components.component
def UserQueries(  # noqa: N802 - the name of the component
    examples: tfx.dsl.components.InputArtifact[tfx.types.standard_artifacts.Examples],
    queries: tfx.dsl.components.OutputArtifact[tfx.types.standard_artifacts.Examples],
    config: tfx.dsl.components.Parameter[str],
) -> None:
    """Writes one example a user: `user_id`, `user_text` and `history`, as `serve_examples` reads.

    BulkInferrer makes the recommendations of all users of them. The history is all that a user
    took: here nothing is held out.

    Args:
        examples: all tables.
        queries: gets the examples.
        config: JSON of the run, see `config_to_text`.
    """
    run = config_from_text(config)
    write_examples(queries, user_requests(dataset_of_artifact(examples, run.data)))
