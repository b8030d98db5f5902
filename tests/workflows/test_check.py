from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tfrec_llm.cli.main import main
from tfrec_llm.errors import UsageError
from tfrec_llm.serving import native_probe
from tfrec_llm.serving.warmup import WARMUP_FILE
from tfrec_llm.workflows.check import check


@pytest.fixture
def copied(exported_shop: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(exported_shop, tmp_path / "export"))


@pytest.fixture
def unloaded(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Takes the place of the fresh process: everything loads, and ops are as given."""
    from tfrec_llm.serving.examination import Examination
    from tfrec_llm.workflows import check as module

    def pretend(custom_ops: list[dict[str, Any]], load_error: str | None = "not tried") -> None:
        found = Examination(custom_ops, load_error, [], [])
        monkeypatch.setattr(module, "examine", lambda *_: found)

    return pretend


def by_name(report: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return {entry["name"]: entry for entry in report["checks"]}


@pytest.mark.slow
def test_a_healthy_export_is_deployable_on_the_stock_server(
    exported_shop: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["check", str(exported_shop), "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert report["ok"] is True
    assert report["deployable"] == {"stock": True, "with_scann": True}
    checks = by_name(report)
    assert [name for name, entry in checks.items() if not entry["ok"]] == []
    assert set(checks) == {
        *("files", "cpu_flags", "versions", "ops", "signatures", "loads", "answers", "warm_up")
    }
    assert report["facts"]["items"] == 42
    assert report["facts"]["max_k"] == 50
    assert report["facts"]["index"]["kind"] == "brute_force"
    assert report["sizes"]["total"] == sum(
        path.stat().st_size for path in (exported_shop / "1").rglob("*") if path.is_file()
    )
    libraries = {verdict["library"] for verdict in report["ops"]}
    assert libraries == {"tensorflow", "tensorflow-text"}
    assert all(verdict["stock"] for verdict in report["ops"])
    assert "of 1, 2, 4, 8, 32 rows" in checks["warm_up"]["detail"]


def test_a_file_that_was_changed_is_named_and_nothing_is_loaded(
    copied: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = copied / "1" / "variables" / "variables.index"
    path.write_bytes(path.read_bytes()[:-1] + b"?")
    assert main(["check", str(copied)]) == 1
    told = capsys.readouterr().out
    assert "changed or cut: variables/variables.index" in told
    assert "Do not deploy it: see files, loads." in told


def test_a_graph_that_is_gone_is_named(copied: Path) -> None:
    (copied / "1" / "saved_model.pb").unlink()
    checks = by_name(check(copied))
    assert "missing: saved_model.pb" in checks["files"]["detail"]
    assert checks["loads"]["ok"] is False


def test_warm_up_requests_that_are_gone_are_told(
    copied: Path, unloaded: Callable[..., None]
) -> None:
    (copied / "1" / WARMUP_FILE).unlink()
    unloaded([])
    report = check(copied)
    assert f"missing: {WARMUP_FILE}" in by_name(report)["files"]["detail"]
    assert report["ok"] is False


def test_an_extra_file_is_named_and_stands_in_nobodys_way(
    copied: Path, unloaded: Callable[..., None]
) -> None:
    (copied / "1" / "notes.txt").write_text("mine")
    unloaded([])
    files = by_name(check(copied))["files"]
    assert files["ok"] is True and "notes.txt" in files["detail"]


def test_a_folder_without_requirements_is_no_export(
    copied: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (copied / "1" / "requires.json").unlink()
    assert main(["check", str(copied)]) == 2
    assert "holds no requires.json" in capsys.readouterr().err
    with pytest.raises(UsageError, match="There is no export"):
        check(tmp_path / "nowhere")


def test_an_op_of_scann_needs_another_server_and_one_of_nobody_has_none(
    copied: Path, unloaded: Callable[..., None]
) -> None:
    path = copied / "1" / "requires.json"
    requires = json.loads(path.read_text())
    path.write_text(json.dumps({**requires, "tensorflow": "2.20.0"}))
    text_op = next(entry for entry in requires["custom_ops"])
    unloaded([{**text_op, "library": "scann", "op": "Scann>ScannSearchBatched"}])
    # The op stands in the graph of this test alone.
    ops = by_name(_with_op(copied, "Scann>ScannSearchBatched"))["ops"]
    assert ops["ok"] is True
    assert "Stock TensorFlow Serving 2.20 lacks Scann>ScannSearchBatched" in ops["detail"]

    unloaded([{"op": "Mystery>Op", "library": None, "version": None}])
    report = _with_op(copied, "Mystery>Op")
    assert by_name(report)["ops"]["ok"] is False
    assert "1 of no known library (Mystery>Op)" in by_name(report)["ops"]["detail"]
    assert report["deployable"] == {"stock": False, "with_scann": False}


def _with_op(export: Path, op: str) -> dict[str, Any]:
    """Checks an export to whose graph a node of another op was added, and its sha256 noted."""
    from tensorflow.core.protobuf.saved_model_pb2 import SavedModel

    from tfrec_llm.files import sha256_of_file

    folder = export / "1"
    path = folder / "saved_model.pb"
    model = SavedModel.FromString(path.read_bytes())
    model.meta_graphs[0].graph_def.node.add(name=op.replace(">", "_"), op=op)
    path.write_bytes(model.SerializeToString())
    requires = json.loads((folder / "requires.json").read_text())
    requires["sha256"]["saved_model.pb"] = sha256_of_file(path)
    (folder / "requires.json").write_text(json.dumps(requires))
    return check(export)


@pytest.mark.slow
def test_a_graph_with_an_op_that_nobody_registers_does_not_load(copied: Path) -> None:
    report = _with_op(copied, "Mystery>Op")
    checks = by_name(report)
    assert checks["loads"]["ok"] is False and "Mystery>Op" in checks["loads"]["detail"]
    assert checks["answers"]["ok"] is checks["warm_up"]["ok"] is None
    assert report["deployable"] == {"stock": False, "with_scann": False}
    assert {v["op"]: v["library"] for v in report["ops"]}["Mystery>Op"] is None


@pytest.mark.slow
def test_the_native_check_is_left_out_where_nothing_can_be_built(
    copied: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(native_probe, "SOURCE", tmp_path / "gone.cc")
    checks = by_name(check(copied, native=True))
    assert checks["native"]["ok"] is None
    assert checks["native"]["detail"].startswith("left out: the source of the probe")
