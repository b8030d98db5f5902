from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest

from tfrec_llm.cli.main import main

ROOT = Path(__file__).resolve().parents[2]
FOLDERS = ("*.md", "benchmarks/*.md", "docs/**/*.md")
PAGES = [page for folder in FOLDERS for page in ROOT.glob(folder)]
FENCED = re.compile(r"^```[a-z]*\n(.*?)^```", re.MULTILINE | re.DOTALL)
COMMANDS = sorted(
    {
        line.strip()
        for page in PAGES
        for block in FENCED.findall(page.read_text(encoding="utf-8"))
        for line in block.replace("\\\n", " ").splitlines()
        if line.strip().startswith("tfrec-llm ")
    }
)
TARGETS = sorted(
    {
        target
        for page in PAGES
        for target in re.findall(r"(?:^|`)make ([a-z-]+)", page.read_text(encoding="utf-8"), re.M)
    }
)


@pytest.mark.parametrize("command", COMMANDS)
def test_a_documented_command_has_its_verb_and_options(
    command: str, capsys: pytest.CaptureFixture[str]
) -> None:
    _, verb, *words = shlex.split(command, comments=True)
    assert main([verb, "--help"]) == 0
    known = capsys.readouterr().out
    for word in words:
        if word.startswith("-"):
            assert re.search(rf"(^|\s){word}\b", known), word


@pytest.mark.parametrize("target", TARGETS)
def test_a_documented_target_is_in_the_makefile(target: str) -> None:
    assert re.search(rf"^{target}:", (ROOT / "Makefile").read_text(), re.MULTILINE)
