from __future__ import annotations

from pathlib import Path

import pytest
import refresh

from tfrec_llm.serving import saved_model
from tfrec_llm.serving.loaded import load


@pytest.mark.slow
def test_a_tiny_catalogue_is_measured_both_ways(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(saved_model, "check_export", lambda *_: [])
    measured = refresh.measure(tmp_path, 60, 0.1, None, 4, "brute_force", 7)
    done = measured.summary
    assert (done["new"], done["removed"], done["changed"]) == (1, 1, 4)
    assert (done["encoded"], done["items"]) == (5, 60)
    assert len(load(tmp_path / "export")) == 60
    rows = measured.markdown().splitlines()
    assert rows[0].startswith("60 items, 1 new, 4 changed, 1 removed since version 1")
    assert rows[-2].startswith("| full export | 60 |") and rows[-1].startswith("| refresh | 5 |")
