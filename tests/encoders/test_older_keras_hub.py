from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from tfrec_llm.encoders.older_keras_hub import readable_folder
from tfrec_llm.encoders.presets import ResolvedPreset


@pytest.fixture
def preset(tmp_path: Path) -> ResolvedPreset:
    folder = tmp_path / "bert"
    folder.mkdir()
    (folder / "config.json").write_text('{"model_type": "bert"}')
    (folder / "vocab.txt").write_text("[PAD]\n")
    names = ["embeddings.LayerNorm.weight", "encoder.layer.0.output.dense.bias", "bert.pooler.x"]
    save_file({n: np.full(2, i, np.float32) for i, n in enumerate(names)}, folder / _WEIGHTS)
    return ResolvedPreset("bert", str(folder), "huggingface_folder", "", True)


_WEIGHTS = "model.safetensors"


def test_an_older_keras_nlp_reads_a_copy_with_the_first_names(preset: ResolvedPreset) -> None:
    with readable_folder(preset, "0.25.1") as location:
        weights = load_file(Path(location) / _WEIGHTS)
        assert {name: value[0] for name, value in weights.items()} == {
            "bert.embeddings.LayerNorm.gamma": 0.0,
            "bert.encoder.layer.0.output.dense.bias": 1.0,
            "bert.pooler.x": 2.0,
        }
        assert (Path(location) / "vocab.txt").read_text() == "[PAD]\n"
    assert not Path(location).exists()
    assert "embeddings.LayerNorm.weight" in load_file(Path(preset.location) / _WEIGHTS)


def test_a_newer_keras_nlp_reads_the_folder_itself(preset: ResolvedPreset) -> None:
    with readable_folder(preset, "0.32.0") as location:
        assert location == preset.location


def test_another_model_is_read_where_it_lies(preset: ResolvedPreset) -> None:
    (Path(preset.location) / "config.json").write_text('{"model_type": "distilbert"}')
    with readable_folder(preset, "0.25.1") as location:
        assert location == preset.location
