"""A BERT of sentence-transformers under a keras-nlp that does not know the names of its weights."""

from __future__ import annotations

import contextlib
import re
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from packaging.version import Version

from tfrec_llm.encoders.presets import ResolvedPreset, read_json

_KNOWS_THE_NAMES = Version("0.32")
_WEIGHTS = "model.safetensors"


@contextlib.contextmanager
def readable_folder(preset: ResolvedPreset, keras_nlp_version: str) -> Iterator[str]:
    """Yields where a preset is to be loaded from: its own place, or a copy with other names.

    keras-nlp before 0.32 reads the weights of a BERT in a Hugging Face folder by the names that
    the first BERT had: `bert.` before all, `gamma` and `beta` in layer normalisations. Folders of
    sentence-transformers have neither.

    Args:
        preset: what `resolve_preset` returned.
        keras_nlp_version: that of the installed keras-nlp.
    """
    folder = Path(preset.location)
    if (
        preset.kind != "huggingface_folder"
        or Version(keras_nlp_version) >= _KNOWS_THE_NAMES
        or read_json(folder / "config.json").get("model_type") != "bert"
        or not (folder / _WEIGHTS).is_file()
    ):
        yield preset.location
        return
    from safetensors.numpy import load_file, save_file

    weights = load_file(folder / _WEIGHTS)
    with tempfile.TemporaryDirectory(prefix="tfrec_llm_") as copy:
        for path in folder.iterdir():
            if path.name != _WEIGHTS:
                (Path(copy) / path.name).symlink_to(path.resolve())
        renamed: dict[str, Any] = {first_name(name): value for name, value in weights.items()}
        save_file(renamed, Path(copy) / _WEIGHTS)
        yield copy


def first_name(name: str) -> str:
    """Returns the name that a weight had in the first BERT.

    Args:
        name: of a tensor in a folder.

    Example:
        >>> first_name("encoder.layer.0.output.LayerNorm.bias")
        'bert.encoder.layer.0.output.LayerNorm.beta'
        >>> first_name("bert.embeddings.LayerNorm.gamma")
        'bert.embeddings.LayerNorm.gamma'
    """
    if re.match(r"(embeddings|encoder|pooler)\.", name):
        name = f"bert.{name}"
    return re.sub(
        r"LayerNorm\.(weight|bias)$",
        lambda match: f"LayerNorm.{'gamma' if match[1] == 'weight' else 'beta'}",
        name,
    )
