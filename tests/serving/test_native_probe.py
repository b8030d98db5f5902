"""The C++ program answers as Python does, and names an op that it lacks."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tfrec_llm.errors import ExportError
from tfrec_llm.serving.export_check import ask
from tfrec_llm.serving.native_probe import SOURCE, ask_probe, compiler, reason_not_to_build

needs_compiler = pytest.mark.skipif(compiler() is None, reason="there is no C++ compiler")


@needs_compiler
@pytest.mark.slow
def test_the_probe_gives_the_ids_of_python_and_names_an_op_that_it_lacks(
    exported: tuple[Any, Path],
) -> None:
    world, folder = exported
    libraries = ["scann"] if world.servable.index.kind == "scann" else []
    for text, history in (("space opera", world.item_ids[:3]), ("", []), ("", ["?", "日本"])):
        inputs = {"user_text": [text], "history": [history]}
        expected = ask(world.servable, "serving_default", inputs)["item_ids"][0]
        found = ask_probe(folder, libraries, text, history)
        assert [item_id.encode() for item_id in found] == expected.tolist()
    if libraries:
        with pytest.raises(ExportError, match=r"The op Scann>\w+ is not registered"):
            ask_probe(folder, [], "space opera", [])


def test_without_source_or_compiler_the_reason_is_told(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    from tfrec_llm.serving import native_probe

    monkeypatch.setenv("CXX", "no-such-compiler")
    (tmp_path / "probe.cc").write_text(SOURCE.read_text() + "// other\n")
    monkeypatch.setattr(native_probe, "SOURCE", tmp_path / "probe.cc")
    assert "there is no C++ compiler" in str(reason_not_to_build())
    monkeypatch.setattr(native_probe, "SOURCE", tmp_path / "gone.cc")
    assert "the source of the probe is not at" in str(reason_not_to_build())
