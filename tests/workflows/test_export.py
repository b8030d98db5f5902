from __future__ import annotations

import json
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


@pytest.fixture
def with_leaves(trained_shop: Path, tmp_path: Path) -> Path:
    """The run, with an index that is approximate even for few items."""
    run = Path(shutil.copytree(trained_shop, tmp_path / "run"))
    config = (run / "config.yaml").read_text().replace("num_leaves: null", "num_leaves: 4")
    (run / "config.yaml").write_text(config.replace("to_search: null", "to_search: 4"))
    return run


@pytest.mark.slow
def test_versions_follow_each_other_each_with_its_own_index(
    without_fresh_process: None, trained_shop: Path, tmp_path: Path
) -> None:
    run = Path(shutil.copytree(trained_shop, tmp_path / "run"))
    (run / "metrics.json").write_text('{"models": {"two_tower": {"all": {"recall@10": 0.4321}}}}')
    first = export(run, tmp_path / "export")
    assert first["index"]["kind"] == "brute_force", "as configured"
    folder = tmp_path / "export" / "1"
    assert (first["version"], Path(first["path"])) == (1, folder)
    files = [p for p in folder.rglob("*") if p.is_file()]
    assert first["size_bytes"] == sum(p.stat().st_size for p in files)
    assert "0.4321" in (folder / "model_card.md").read_text()

    second = export(run, tmp_path / "export", index="scann", max_k=7)
    assert (second["version"], second["index"]["kind"]) == (2, "scann")
    recommender = load(tmp_path / "export")
    assert recommender.folder.name == "2" and len(recommender.recommend(k=50)) == 7
    assert len(load(folder).recommend(k=50)) == 42


def test_figures_that_were_changed_are_named(trained_shop: Path, tmp_path: Path) -> None:
    run = Path(shutil.copytree(trained_shop, tmp_path / "run"))
    (run / "metrics.json").write_text("{")
    with pytest.raises(CorruptFileError, match=r"metrics\.json"):
        export(run, tmp_path / "export")


def test_a_run_of_another_version_is_told(trained_shop: Path, tmp_path: Path) -> None:
    run = Path(shutil.copytree(trained_shop, tmp_path / "run"))
    summary = json.loads((run / "training.json").read_text())
    settings = summary["neighbours"]["settings"]
    settings["shrinkage"] = settings.pop("regularisation")
    (run / "training.json").write_text(json.dumps(summary))
    with pytest.raises(UsageError, match=r"trained by another version .* Train it again"):
        export(run, tmp_path / "export")
    assert not (tmp_path / "export" / "1").exists()


@pytest.mark.parametrize("options", [{"index": "faiss"}, {"max_k": 0}, {"max_k": -3}])
def test_options_that_cannot_be_are_refused(quick: Any, options: Any, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=next(iter(options))):
        quick(**options)
    assert not (tmp_path / "export").exists()


@pytest.mark.slow
def test_how_much_an_approximate_index_finds_is_told(
    without_fresh_process: None, with_leaves: Path, tmp_path: Path
) -> None:
    summary = export(with_leaves, tmp_path / "export", index="scann")
    assert summary["index"]["num_leaves"] == 4 and 0.9 <= summary["index_recall@10"] <= 1.0


@pytest.mark.slow
def test_inverted_lists_need_no_op_that_stock_tensorflow_serving_lacks(
    trained_shop: Path, tmp_path: Path
) -> None:
    run = Path(shutil.copytree(trained_shop, tmp_path / "run"))
    config = (run / "config.yaml").read_text().replace("num_lists: null", "num_lists: 5")
    (run / "config.yaml").write_text(config)
    summary = export(run, tmp_path / "export", index="ivf")
    assert summary["index"]["kind"] == "ivf" and summary["index"]["num_lists"] == 5
    assert summary["stock_tensorflow_serving"] and summary["index_recall@10"] >= 0.9
    exact = load(export(run, tmp_path / "exact", index="brute_force")["path"])
    asked = {"text": "a story of the sea", "k": 5}
    assert load(tmp_path / "export").recommend(**asked)[0] == exact.recommend(**asked)[0]


@pytest.mark.slow
def test_auto_says_why_it_chose_the_index(quick: Any) -> None:
    summary = quick(index="auto", serve_on="scann")
    assert summary["index"]["kind"] == "brute_force"
    assert "exactly, on any server" in summary["index_reason"]
    assert quick(index="brute_force")["index_reason"] is None


def test_an_index_that_finds_too_little_is_refused(
    with_leaves: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(saved_model, "index_recall", lambda *_, **__: 0.5)
    with pytest.raises(ExportError, match="finds 50% .* 90%"):
        export(with_leaves, tmp_path / "export", index="scann")
    assert not (tmp_path / "export").exists()


def test_a_run_that_is_not_finished_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no run folder"):
        export(tmp_path / "nix", tmp_path / "export")
