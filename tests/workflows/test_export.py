from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tfrec_llm.errors import CorruptFileError, ExportError, UsageError
from tfrec_llm.serving import saved_model
from tfrec_llm.serving.loaded import load
from tfrec_llm.workflows.export import export


@pytest.fixture
def quick(without_fresh_process: None, trained_shop: Path, tmp_path: Path) -> Callable[..., Any]:
    """Exports the trained shop without the process that would load it again."""
    return lambda **options: export(trained_shop, tmp_path / "export", **options)


def test_the_kind_and_size_come_from_the_configuration(quick: Any, tmp_path: Path) -> None:
    summary = quick()
    assert summary["index"]["kind"] == "brute_force"
    assert (summary["version"], Path(summary["path"])) == (1, tmp_path / "export" / "1")
    assert len(load(tmp_path / "export").recommend(k=50)) == 42
    assert summary["size_bytes"] == sum(
        p.stat().st_size for p in (tmp_path / "export" / "1").rglob("*") if p.is_file()
    )


def test_kind_and_size_can_be_chosen_and_make_a_new_version(quick: Any, tmp_path: Path) -> None:
    quick()
    summary = quick(index="scann", max_k=7)
    assert summary["version"] == 2 and summary["index"]["kind"] == "scann"
    assert summary["index_recall@10"] >= 0.9
    recommender = load(tmp_path / "export")
    assert recommender.folder.name == "2" and len(recommender.recommend(k=50)) == 7
    assert load(tmp_path / "export" / "1").folder.name == "1"


def test_the_card_has_the_test_figures_where_there_are_some(
    without_fresh_process: None, trained_shop: Path, tmp_path: Path
) -> None:
    run = Path(shutil.copytree(trained_shop, tmp_path / "run"))
    (run / "metrics.json").write_text('{"models": {"two_tower": {"all": {"recall@10": 0.4321}}}}')
    export(run, tmp_path / "export")
    card = (tmp_path / "export" / "1" / "model_card.md").read_text()
    assert "0.4321" in card and "items" in card


def test_figures_that_were_changed_are_named(trained_shop: Path, tmp_path: Path) -> None:
    run = Path(shutil.copytree(trained_shop, tmp_path / "run"))
    (run / "metrics.json").write_text("{")
    with pytest.raises(CorruptFileError, match=r"metrics\.json"):
        export(run, tmp_path / "export")


@pytest.mark.parametrize("options", [{"index": "faiss"}, {"max_k": 0}, {"max_k": -3}])
def test_options_that_cannot_be_are_refused(quick: Any, options: Any, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=next(iter(options))):
        quick(**options)
    assert not (tmp_path / "export").exists()


def test_an_index_that_finds_too_little_is_refused(
    quick: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(saved_model, "index_recall", lambda *_, **__: 0.5)
    with pytest.raises(ExportError, match=r"finds 50% .* 90%"):
        quick(index="scann")
    assert not (tmp_path / "export").exists()


def test_a_run_that_is_not_finished_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no run folder"):
        export(tmp_path / "nix", tmp_path / "export")
