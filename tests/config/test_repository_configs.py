from __future__ import annotations

import os
import re
from pathlib import Path

import pytest
import yaml

from tfrec_llm.config.load import load_config
from tfrec_llm.config.load_search_space import load_search_space

ROOT = Path(__file__).resolve().parents[2]
SKIPPED = {".git", "runs", "exports", "build", "dist", "node_modules"}

# A search space names its keys with a dot; a run nests them.
SPACE = re.compile(r"^\w+\.[\w.]+:", re.MULTILINE)
YAML_BLOCK = re.compile(r"^```yaml\n(.*?)^```", re.MULTILINE | re.DOTALL)


def _files(*endings: str) -> list[Path]:
    found: list[Path] = []
    for folder, inner, names in os.walk(ROOT):
        inner[:] = [
            name
            for name in inner
            if name not in SKIPPED and not name.startswith(".venv") and not name.endswith("_cache")
        ]
        found += [Path(folder, name) for name in names if name.endswith(endings)]
    return sorted(found)


YAML_FILES = _files(".yaml", ".yml")
RUNS = [path for path in YAML_FILES if "configs" in path.parts]
BLOCKS = [
    pytest.param(block, id=f"{path.relative_to(ROOT)}-{number}")
    for path in _files(".md")
    for number, block in enumerate(YAML_BLOCK.findall(path.read_text(encoding="utf-8")))
]


def test_there_are_yaml_files_to_look_at() -> None:
    assert ROOT / ".pre-commit-config.yaml" in YAML_FILES


@pytest.mark.parametrize("path", YAML_FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_yaml_file_is_yaml(path: Path) -> None:
    assert yaml.safe_load(path.read_text(encoding="utf-8")) is not None


@pytest.mark.parametrize("path", RUNS, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_run_of_the_repository_is_a_sound_configuration(path: Path) -> None:
    load_config(path)


@pytest.mark.parametrize("block", BLOCKS)
def test_every_configuration_in_the_documents_is_sound(block: str, tmp_path: Path) -> None:
    run, space = tmp_path / "run.yaml", tmp_path / "space.yaml"
    if SPACE.search(block):
        run.write_text("data: {source: bookshop}\n")
        space.write_text(block)
        assert load_search_space(space, load_config(run))
        return
    has_data = re.search(r"^data:", block, re.M)
    run.write_text(block if has_data else "data: {source: bookshop}\n" + block)
    load_config(run)
