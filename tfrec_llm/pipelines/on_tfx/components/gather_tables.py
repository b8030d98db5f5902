"""TFX component: the examples of all tables in one artifact."""

# No `from __future__ import annotations`: TFX reads the annotations as objects.
import os

from tfx import v1 as tfx
from tfx.types import artifact_utils

from tfrec_llm.pipelines.on_tfx.examples import SPLIT
from tfrec_llm.pipelines.remote_files import copy_folder


@tfx.dsl.components.component
def GatherTables(  # noqa: N802 - the name of the component
    items: tfx.dsl.components.InputArtifact[tfx.types.standard_artifacts.Examples],
    interactions: tfx.dsl.components.InputArtifact[tfx.types.standard_artifacts.Examples],
    examples: tfx.dsl.components.OutputArtifact[tfx.types.standard_artifacts.Examples],
    users: tfx.dsl.components.InputArtifact[tfx.types.standard_artifacts.Examples] = None,
) -> None:
    """Puts each table into a split of its own name.

    Trainer takes one artifact: several, which LocalDagRunner would allow, Kubeflow does not.

    Args:
        items: examples of the items.
        interactions: examples of the interactions.
        examples: gets the splits `items`, `interactions`, and `users` if there are any.
        users: examples of the texts of users.
    """
    tables = {"items": items, "interactions": interactions, "users": users}
    given = {name: table for name, table in tables.items() if table is not None}
    examples.split_names = artifact_utils.encode_split_names(list(given))
    examples.set_string_custom_property("payload_format", "FORMAT_TF_EXAMPLE")
    examples.set_string_custom_property("file_format", "tfrecords_gzip")
    for name, table in given.items():
        source = artifact_utils.get_split_uri([table], SPLIT)
        copy_folder(source, os.path.join(examples.uri, f"Split-{name}"))
