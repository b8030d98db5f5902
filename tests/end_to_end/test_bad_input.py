"""What cannot work is told in one paragraph that says where the fault is, and with which code."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tfrec_llm.cli.main import main

Fails = Callable[..., str]
ITEMS = "item_id,title\n" + "".join(f"i{n},space king {n}\n" for n in range(8))
CLICKS = "user_id,item_id\n" + "".join(
    f"u{u},i{(u + n) % 8}\n" for u in range(12) for n in range(5)
)


@pytest.fixture
def small(tmp_path: Path, preset: Path) -> Callable[..., list[Any]]:
    """Writes tables and a configuration; returns the arguments that train on them."""

    def write(items: str | bytes = ITEMS, clicks: str = CLICKS, more: str = "") -> list[Any]:
        (tmp_path / "items.csv").write_bytes(items.encode() if isinstance(items, str) else items)
        (tmp_path / "clicks.csv").write_text(clicks)
        (tmp_path / "run.yaml").write_text(
            "data: {items: items.csv, interactions: clicks.csv}\n"
            f"encoder: {{preset: {preset}}}\ntext: {{max_tokens: 16}}\n"
            "towers: {embedding_dim: 4}\ntrain: {epochs: 1, batch_size: 4}\n" + more
        )
        return ["train", tmp_path / "run.yaml", "--out", tmp_path / "run"]

    return write


@pytest.mark.slow
def test_a_command_that_fails_is_a_process_that_fails(cli: Any, tmp_path: Path, small: Any) -> None:
    ended = cli(*small(items="item_id,title\n"))
    assert ended.returncode == 2 and ended.stdout == ""
    # TensorFlow 2.16 may say something of its own before.
    (paragraph,) = [line for line in ended.stderr.splitlines() if line.startswith("Error: ")]
    assert "items.csv" in paragraph and ended.stderr.rstrip().endswith(paragraph)


def test_a_missing_table_is_named(small: Any, fails: Fails, tmp_path: Path) -> None:
    arguments = small()
    (tmp_path / "clicks.csv").unlink()
    assert str(tmp_path / "clicks.csv") in fails(2, *arguments)


def test_a_missing_column_is_named_with_what_is_there(small: Any, fails: Fails) -> None:
    message = fails(2, *small(clicks=CLICKS.replace("user_id", "userId")))
    for word in ("clicks.csv", "'user_id'", "'userId'", "data.columns.user_id: userId"):
        assert word in message


@pytest.mark.parametrize(
    ("tables", "words"),
    [
        ({"items": ""}, ["items.csv", "empty"]),
        ({"items": "item_id,title\n"}, ["items.csv"]),
        ({"clicks": ""}, ["clicks.csv", "empty"]),
        ({"clicks": "user_id,item_id\n"}, ["clicks.csv", "no rows"]),
        ({"clicks": "user_id,item_id\nu,i1\nu,i2\nu,i3\n"}, ["only the user 'u'", "two users"]),
        ({"clicks": "user_id,item_id\nu,i1\nv,i2\n"}, ["three interactions"]),
        ({"items": "item_id,title\ni0,\ni1, \n"}, ["no row has any text", "title", "item_text"]),
        ({"items": "item_id\ni0\ni1\n"}, ["no row has any text", "item_id"]),
        (
            {"clicks": CLICKS.replace(",i", ",x").replace(",xtem", ",item")},
            ["unknown_item", "'x0'"],
        ),
        ({"items": b"item_id,title\ni0,\xff\ni1,\xfe\ni2,good\n"}, ["bad_encoding", "UTF-8"]),
    ],
    ids=lambda value: " ".join(value)[:40] if isinstance(value, list) else "",
)
def test_tables_that_cannot_be_used_are_told(
    tables: dict[str, Any], words: list[str], small: Any, fails: Fails, tmp_path: Path
) -> None:
    message = fails(2, *small(**tables))
    for word in words:
        assert word in message
    left = [p.name for p in (tmp_path / "run").iterdir()] if (tmp_path / "run").exists() else []
    assert left in ([], [".lock"]), "the folder can be tried again"


def test_equal_texts_are_told_and_work(
    small: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    items = "item_id,title\n" + "".join(f"i{n},the same\n" for n in range(8))
    assert main([*map(str, small(items=items)), "--set", "train.epochs=0"]) == 0
    assert "all 8 texts are equal" in capsys.readouterr().err
    assert json.loads((tmp_path / "run" / "training.json").read_text())["best_epoch"] >= 0


def test_all_faults_of_a_configuration_are_told_at_once(small: Any, fails: Fails) -> None:
    more = "towrs: {}\nevaluate: {ks: [0]}\nsplit: {protocol: leave_two_out}\n"
    message = fails(2, *small(more=more), "--set", "train.epoch=3", "--set", "text.max_tokens=a")
    for word in ("5 faults", "is towers", "evaluate.ks", "leave_one_out?", "train.epochs", '"a"'):
        assert word in message


@pytest.mark.parametrize(
    ("setting", "words"),
    [
        ("encoder.preset=all_minilm_l6", ["all_minilm_l6"]),
        ("encoder.preset=/nowhere/model", ["/nowhere/model"]),
        ("data.columns.timestamp=when", ["clicks.csv", "'when'"]),
        ("split.protocol=temporal", ["temporal", "timestamp"]),
        ("data.ordered=false", ["order", "random"]),
        ("text.max_tokens=128", ["128", "64 tokens"]),
    ],
)
def test_settings_that_do_not_fit_are_told(
    setting: str, words: list[str], small: Any, fails: Fails
) -> None:
    message = fails(2, *small(), "--set", setting)
    for word in words:
        assert word in message


def test_a_folder_in_use_is_left_alone(small: Any, fails: Fails, tmp_path: Path) -> None:
    arguments = small()
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "mine.txt").write_text("mine")
    assert "not empty" in fails(2, *arguments)
    assert "no config.yaml" in fails(2, *arguments, "--resume")
    arguments[-1] = tmp_path / "items.csv"
    assert "cannot be used as a run folder" in fails(2, *arguments)
    assert [p.name for p in (tmp_path / "run").iterdir()] == ["mine.txt"]


# What is asked of an export.


@pytest.mark.parametrize("k", ["0", "-1", "many"])
def test_k_below_one_is_told(k: str, shop_export: Path, fails: Fails) -> None:
    assert "-k" in fails(2, "recommend", shop_export, "-k", k)


def test_an_unknown_item_has_no_similar_ones_and_the_nearest_ids_are_named(
    shop_export: Path, fails: Fails
) -> None:
    assert "'space-3'" in fails(2, "similar", shop_export, "spce-3")


def test_ids_that_are_no_list_are_told(shop_export: Path, fails: Fails) -> None:
    assert "--history" in fails(2, "recommend", shop_export, "--history", '"open')


def test_what_is_no_export_is_told(shop: Path, tmp_path: Path, fails: Fails) -> None:
    for folder in (tmp_path / "nowhere", tmp_path, shop / "run"):
        assert str(folder) in fails(2, "recommend", folder)


def test_an_export_that_was_changed_is_not_asked(
    shop_export: Path, tmp_path: Path, fails: Fails
) -> None:
    shutil.copytree(shop_export, tmp_path / "export")
    weights = tmp_path / "export" / "1" / "variables" / "variables.data-00000-of-00001"
    content = bytearray(weights.read_bytes())
    content[len(content) // 2] ^= 1
    weights.write_bytes(content)
    assert "variables.data" in fails(1, "recommend", tmp_path / "export")


# What is asked of a run.


@pytest.fixture
def run_copy(shop: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(shop / "run", tmp_path / "run"))


def flip_a_bit(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def test_there_is_nothing_to_evaluate_or_export_in_no_run(tmp_path: Path, fails: Fails) -> None:
    assert "no run folder" in fails(2, "evaluate", tmp_path / "nowhere")
    assert "no finished training" in fails(2, "evaluate", tmp_path)
    assert "no finished training" in fails(2, "export", tmp_path, "--out", tmp_path / "export")


@pytest.mark.parametrize(
    "file",
    [
        *("towers.safetensors", "items.parquet", "item_embeddings.npy", "sample_queries.npy"),
        "encoder/language_model/model.weights.h5",
    ],
)
@pytest.mark.parametrize("harm", [flip_a_bit, Path.unlink])
def test_a_model_file_that_was_changed_is_named(
    file: str, harm: Callable[[Path], None], run_copy: Path, tmp_path: Path, fails: Fails
) -> None:
    harm(run_copy / "model" / file)
    message = fails(1, "export", run_copy, "--out", tmp_path / "export")
    assert str(run_copy / "model" / file) in message
    assert not (tmp_path / "export" / "1").exists()


@pytest.mark.parametrize("content", ["", "{", "[]", "{}", '{"sha256": 3}'])
def test_a_description_of_the_model_that_was_changed_is_named(
    content: str, run_copy: Path, tmp_path: Path, fails: Fails
) -> None:
    (run_copy / "model" / "model.json").write_text(content)
    assert "model.json" in fails(1, "export", run_copy, "--out", tmp_path / "export")


@pytest.mark.parametrize(
    ("file", "content", "verb"),
    [("training.json", "{", "evaluate"), ("training.json", "[]", "evaluate")],
)
def test_a_summary_that_was_changed_is_named(
    file: str, content: str, verb: str, run_copy: Path, fails: Fails
) -> None:
    (run_copy / file).write_text(content)
    assert file in fails(1, verb, run_copy)


def test_data_that_changed_since_is_no_test_set(
    shop: Path, run_copy: Path, tmp_path: Path, fails: Fails
) -> None:
    clicks = (shop / "interactions.csv").read_text()
    (tmp_path / "clicks.csv").write_text(clicks.replace("space-2", "space-3", 1))
    config = (run_copy / "config.yaml").read_text()
    (run_copy / "config.yaml").write_text(
        config.replace(str(shop / "interactions.csv"), str(tmp_path / "clicks.csv"))
    )
    before = sorted(p.name for p in run_copy.iterdir())
    message = fails(2, "evaluate", run_copy)
    assert "changed since it was trained" in message and "another folder" in message
    assert sorted(p.name for p in run_copy.iterdir()) == before


@pytest.mark.slow
def test_a_cache_that_was_changed_is_told_and_can_be_mended(
    small: Any, tmp_path: Path, fails: Fails
) -> None:
    arguments = [
        *small(),
        "--set",
        "train.epochs=0",
        "--set",
        f"encoder.cache_folder={tmp_path / 'cache'}",
    ]
    assert main([str(a) for a in arguments]) == 0
    shutil.rmtree(tmp_path / "run")
    (block,) = (tmp_path / "cache").rglob("*.npy")
    flip_a_bit(block)
    message = fails(1, *arguments)
    assert str(block) in message and "Delete" in message
    block.unlink()
    block.with_suffix(".keys").unlink()
    assert main([str(a) for a in arguments]) == 0


def cut(path: Path) -> None:
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])


def replace_keys(path: Path) -> None:
    path.write_text('{"a": 1}')


@pytest.mark.parametrize(
    ("file", "harm"),
    [
        ("select-last.safetensors", flip_a_bit),
        ("select-last.safetensors", cut),
        ("start.json", cut),
        ("start.json", replace_keys),
        ("fingerprint.json", cut),
        ("fingerprint.json", replace_keys),
    ],
)
def test_a_checkpoint_that_was_changed_is_not_resumed(
    file: str, harm: Callable[[Path], None], run_copy: Path, shop: Path, fails: Fails
) -> None:
    (run_copy / "training.json").unlink()
    harm(run_copy / "checkpoints" / file)
    message = fails(1, "train", shop / "run.yaml", "--out", run_copy, "--resume")
    assert str(run_copy / "checkpoints" / file) in message or "another configuration" in message
    assert not (run_copy / "training.json").exists()
