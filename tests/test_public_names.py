from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

import tfrec_llm

PUBLIC = [
    "CheckpointError",
    "ConfigError",
    "CorruptFileError",
    "DataError",
    "EncoderError",
    "ExportError",
    "ImportOrderError",
    "InputError",
    "MissingPackageError",
    "Recommender",
    "TfrecLlmError",
    "UsageError",
    "load",
    "read_tables",
    "train",
]


def test_the_public_names_are_these() -> None:
    assert tfrec_llm.__all__ == PUBLIC
    assert set(PUBLIC) <= set(dir(tfrec_llm))


@pytest.mark.parametrize("name", PUBLIC)
def test_every_public_name_can_be_fetched(name: str) -> None:
    assert getattr(tfrec_llm, name).__name__.endswith(name)


def test_another_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="has no attribute 'recommend'"):
        tfrec_llm.recommend  # noqa: B018


def test_importing_the_package_has_no_effects() -> None:
    code = """
import json, os, sys
before, environment = set(sys.modules), dict(os.environ)
import tfrec_llm
print(json.dumps([sorted(set(sys.modules) - before), dict(os.environ) == environment]))
"""
    done = subprocess.run(
        [sys.executable, "-I", "-c", code], capture_output=True, text=True, check=True
    )
    loaded, environment_is_the_same = json.loads(done.stdout)
    standard = set(sys.stdlib_module_names)
    assert [name for name in loaded if name.partition(".")[0] not in standard] == ["tfrec_llm"]
    assert environment_is_the_same
    assert done.stderr == ""


def test_the_version_stands_in_one_place_and_in_the_changelog() -> None:
    root = Path(tfrec_llm.__file__).parents[1]
    if not (root / "setup.cfg").is_file():
        pytest.skip("not a checkout")
    assert "version = attr: tfrec_llm.__version__" in (root / "setup.cfg").read_text()
    assert f"\n## {tfrec_llm.__version__}" in (root / "CHANGELOG.md").read_text()
