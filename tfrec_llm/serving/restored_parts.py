"""The model and the encoder inside an export, to build its next version from."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tfrec_llm.keras_api import tf
from tfrec_llm.serving.op_libraries import register_ops
from tfrec_llm.serving.requirements_file import read_requirements, verify_files


class RestoredModel:
    """The two towers of an export.

    Attributes:
        has_ranker: bool, whether the export has a ranker, which is not restored.
    """

    def __init__(self, loaded: Any) -> None:
        self.variables: Sequence[Any] = []  # all of them belong to the encoder, see below
        self.embed_items = loaded.part_embed_items
        self.embed_users = loaded.part_embed_users
        self.has_ranker = hasattr(loaded, "reranking")


class RestoredEncoder:
    """The text encoder of an export, with the variables and tables of all parts."""

    def __init__(self, loaded: Any) -> None:
        self.embed = loaded.part_encode
        shape = loaded.part_encode.concrete_functions[0].structured_outputs.shape
        self.dim = int(shape[-1])
        self.num_tokens = None if len(shape) == 2 else -1  # any number
        self.variables: Sequence[Any] = list(loaded._saved_variables)
        self.trackables: Sequence[Any] = list(loaded._saved_resources)


def restored_parts(version_folder: str | Path) -> tuple[RestoredModel, RestoredEncoder]:
    """Restores what a `Servable` needs, from an export alone.

    A ranker is left out, since new items would need the tokens that only the language model
    itself can give: what is built of these parts answers the six signatures of every export. Who
    builds on an export whose model `has_ranker` should say so.

    Args:
        version_folder: folder of one version.

    Returns: model and encoder. The model numbers its items as in the column `model_number` of
        `assets.extra/items.parquet`.

    Raises:
        UsageError: when the folder is no export.
        CorruptFileError: when a file is not as it was written.
    """
    folder = Path(version_folder)
    requires = read_requirements(folder)
    verify_files(folder, requires)
    register_ops(sorted({entry["library"] for entry in requires["custom_ops"]}))
    loaded = tf.saved_model.load(str(folder))
    return RestoredModel(loaded), RestoredEncoder(loaded)
